"""Check of 03.3: the learner's server and client, each against the other half of the check, over the wire."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import Run
from labsupport.exercises.thriftrpc.calls import HOST, PATIENCE_S, SILENCE_S, client_of, definition, factories, listener

PAIRS = tuple(itertools.product(("binary", "compact", "JSON"), ("buffered", "framed")))
CROWD = 40  # clients that are connected and silent


class ShopHandler:
    """The service that is served: an Item says its own name, and how often the handler was called."""

    def __init__(self, api: Any) -> None:
        self.api, self.calls = api, itertools.count(1)

    def find(self, sku: str) -> Any:
        return self.api.Item(sku=sku, quantity=next(self.calls))

    def note(self, text: str) -> None:
        pass


def serve_shop(given: Any, tell: Any, protocol: str, transport: str) -> None:
    """In the child: the learner's serve."""
    logging.disable(logging.CRITICAL)  # a client's view of a failure is what counts
    api = definition("calculator")
    given.serve(api.Shop.Processor(ShopHandler(api)), listener(tell), protocol, transport)
    tell("returned")


def use_caller(
    given: Any, tell: Any, port: int, protocol: str, transport: str, skus: list[str], timeout_s: float
) -> None:
    """In the child: one learner's Caller makes these calls, one after the other."""
    api = definition("calculator")
    caller = given.Caller(api.Shop, port, protocol, transport, timeout_s)
    for sku in skus:
        try:
            tell("called", got=caller.call("find", sku).sku)
        except NotImplementedError:
            raise
        except Exception as error:
            tell("called", error=f"{type(error).__name__}: {error}")
    caller.close()
    tell("closed")


def check_serving(answer: Answer, run: Run) -> str:
    """Server and client apart, over drawn pairs of protocol and transport; slow clients; a reply that is late."""
    definition("calculator")  # before any child: a library that cannot be brought is not the answer's fault
    others = [pair for pair in PAIRS if pair[0] != "binary" and pair[1] != "buffered"]
    drawn = [("binary", "buffered"), run.random.choice(others), ("binary", "framed"), ("JSON", "buffered")]
    if run.full:
        drawn = list(PAIRS)
    for protocol, transport in drawn:
        case = ServerCase(run, protocol, transport)
        with answer.start(serve_shop, protocol=protocol, transport=transport) as child:
            port = child.expect("ready", what="your serve to listen")["port"]
            case.answers(port)
            if transport == "framed" or run.full:
                case.stands_slow_clients(child, port)
        CallerCase(run, answer, protocol, transport).calls_on_one_connection()
    quiet = [pair for pair in PAIRS if pair[0] != "JSON"]  # its reader is lost after a timeout, whatever comes next
    CallerCase(run, answer, *run.random.choice(quiet)).does_not_mix_up_replies()
    CallerCase(run, answer, *run.random.choice(PAIRS)).opens_another_connection()
    return f"{len(drawn)} pairs of protocol and transport, {CROWD} silent clients, a late reply, a connection that ends"


class ServerCase:
    """The experiments on the learner's server, from a client of ours."""

    def __init__(self, run: Run, protocol: str, transport: str) -> None:
        self.run, self.pair = run, (protocol, transport)
        self.history = [f"serve(processor, listener, {protocol!r}, {transport!r})"]

    def reject(self, slug: str, said: str, expected: object, got: object) -> None:
        self.run.reject(slug, said, expected=expected, got=got, evidence=self.history[-8:])

    def find(self, port: int, pair: tuple[str, str], timeout_s: float) -> str:
        """Ask for an item; what kept us from it, or nothing."""
        sku = f"sku-{self.run.random.randrange(10**6)}"
        try:
            with client_of(definition("calculator").Shop, port, *pair, timeout_s=timeout_s) as client:
                got = client.find(sku).sku
        except Exception as error:  # what a client meets at a server of another protocol is anybody's guess
            got = f"{type(error).__name__}: {error}"
        fine = got == sku
        self.history.append(f"a client of {pair[0]} over {pair[1]} {'gets its item' if fine else f'meets {got}'}")
        return "" if fine else got

    def answers(self, port: int) -> None:
        wrong = self.find(port, self.pair, PATIENCE_S)
        if not wrong:
            return
        wanted = " over ".join(self.pair)
        for other in sorted(PAIRS, key=lambda pair: pair[0] != self.pair[0]):
            if other != self.pair and not self.find(port, other, SILENCE_S):
                slug = "framed_server_with_buffered_client" if other[1] != self.pair[1] else "one_protocol_for_all"
                self.reject(slug, f"your server was to speak {wanted}", wanted, " over ".join(other))
        self.reject("", f"no client gets through to your server, which was to speak {wanted}", wanted, wrong)

    def stands_slow_clients(self, child: Child, port: int) -> None:
        """One client stops in the middle of its request; then many are connected and say nothing."""
        with contextlib.ExitStack() as stack:
            slow = stack.enter_context(socket.create_connection((HOST, port)))
            slow.sendall(b"\0\0")
            self.history.append("a slow client sends two bytes of its request, and stops")
            if wrong := self.find(port, self.pair, SILENCE_S):
                said = "one client is slow with its request, and everybody else waits"
                self.reject("one_slow_client_blocks", said, "the next client is served", wrong)
            for _ in range(CROWD):
                stack.enter_context(socket.create_connection((HOST, port)))
            self.history.append(f"{CROWD} more clients connect, and say nothing")
            if wrong := self.find(port, self.pair, SILENCE_S):
                said = f"{CROWD} clients are connected and silent, and the next one is not served"
                self.reject("silent_clients_fill_the_pool", said, "the next client is served", wrong)


class OurServer:
    """A server of ours that counts connections.

    Args:
        late: its reply to that sku waits until somebody opens the gate.
        last: with its reply to that sku it ends the connection, as a server does that is started again.
    """

    def __init__(self, protocol: str, transport: str, *, late: str = "", last: str = "") -> None:
        self.api, self.late, self.last = definition("calculator"), late, last
        self.protocol, self.transport = factories(protocol, transport)
        self.connections: list[socket.socket] = []
        self.history: list[str] = []
        self.asked: list[str] = []
        self.first = b""
        self.gate = threading.Event()

    def find(self, sku: str) -> Any:
        self.asked.append(sku)
        self.history.append(f"server: find({sku!r}) on connection {len(self.connections)}")
        if sku == self.late:
            self.gate.wait(PATIENCE_S)
            self.history.append(f"server: the reply to {sku!r} is sent, late")
        return self.api.Item(sku=sku, quantity=1)

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        with socket.create_server((HOST, 0)) as sock:
            threading.Thread(target=self._accept, args=(sock,), daemon=True).start()
            try:
                yield sock.getsockname()[1]
            finally:
                self.gate.set()
                with contextlib.suppress(OSError):  # accept may not notice that its socket is closed
                    sock.shutdown(socket.SHUT_RDWR)
                for each in self.connections:
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

    def _accept(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = sock.accept()[0]
                self.connections.append(connection)
                self.history.append(f"server: connection {len(self.connections)} is opened")
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        from thrift.transport import TSocket

        with contextlib.suppress(Exception), connection:  # a client of another protocol ends it, in one way or another
            self.first = self.first or connection.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL)
            inner = TSocket.TSocket()
            inner.setHandle(connection)
            stack = self.transport.getTransport(inner)
            protocol = self.protocol.getProtocol(stack)
            processor = self.api.Shop.Processor(self)
            while True:
                processor.process(protocol, protocol)
                if self.asked[-1] == self.last:
                    self.history.append("server: ends this connection")
                    break


class CallerCase:
    """The experiments on the learner's client, against servers of ours."""

    def __init__(self, run: Run, answer: Answer, protocol: str, transport: str) -> None:
        self.run, self.answer, self.pair = run, answer, (protocol, transport)
        self.skus = [f"sku-{number}" for number in run.random.sample(range(10**4), 5)]

    def reject(self, server: OurServer, slug: str, said: str, expected: object, got: object) -> None:
        made = f"Caller(…, {', '.join(map(repr, self.pair))}, …)"
        self.run.reject(slug, said, expected=expected, got=got, evidence=[made, *server.history[:10]])

    @contextlib.contextmanager
    def calling(self, server: OurServer, timeout_s: float = PATIENCE_S) -> Iterator[Child]:
        """A child in which one Caller asks for all skus, one after the other."""
        settings = {"protocol": self.pair[0], "transport": self.pair[1], "skus": self.skus, "timeout_s": timeout_s}
        with server.serving() as port, self.answer.start(use_caller, port=port, **settings) as child:
            yield child

    def returned(self, server: OurServer, child: Child, sku: str) -> tuple[str, bool]:
        """What the next call, for that sku, returned or raised; and whether it raised."""
        called = child.expect("called", what="Caller.call to return")
        got = called.get("got") or called["error"]
        server.history.append(f"client: call('find', {sku!r}) -> {got}")
        return got, "error" in called

    def calls_on_one_connection(self) -> None:
        server = OurServer(*self.pair)
        with self.calling(server) as child:
            for sku in self.skus:
                self.run.wait_until(lambda: server.first or child.broke_down, "your Caller to call")
                if server.first and (spoken := _spoken(server.first)) and spoken != self.pair:
                    slug = "framed_server_with_buffered_client"
                    slug = slug if spoken[1] != self.pair[1] else "one_protocol_for_all"
                    wanted = " over ".join(self.pair)
                    got = f"{' over '.join(spoken)}: {server.first!r} comes first"
                    self.reject(server, slug, f"the server speaks {wanted}, and your Caller does not", wanted, got)
                got, _ = self.returned(server, child, sku)
                if got != sku:
                    self.reject(server, "", "a call went wrong", sku, got)
            child.expect("closed", what="Caller.close to return")
            many = len(server.connections)
            if many > 1:
                said = f"{len(self.skus)} calls one after the other opened {many} connections"
                self.reject(server, "connection_per_call", said, "1 connection", f"{many} connections")

    def does_not_mix_up_replies(self) -> None:
        """The first reply comes after the caller's time is over; what does the second call return?"""
        late, *others = self.skus
        server = OurServer(*self.pair, late=late)
        with self.calling(server, timeout_s=1.5) as child:
            called = None
            with contextlib.suppress(TimeoutError):
                called = child.expect("called", SILENCE_S + PATIENCE_S / 3)
            if (times := server.asked.count(late)) > 1:
                said = f"one call of a server that does not answer in time became {times} requests"
                self.reject(server, "calls_again_after_a_timeout", said, "1 request", f"{times} requests")
            if called is None:
                said = "a server that does not answer holds your Caller, whatever its timeout_s"
                self.reject(server, "waits_for_ever", said, "an exception after 1.5 s", "no end after many seconds")
            server.gate.set()
            if "error" not in called:
                self.reject(server, "", "a reply that never came was returned", "an exception", called["got"])
            server.history.append(f"client: {called['error']}")
            for sku in others:
                got, _ = self.returned(server, child, sku)
                if got == late or (got in self.skus and got != sku):
                    said = f"the call for {sku!r} returned the late reply to {got!r}"
                    self.reject(server, "late_reply_taken_for_the_next", said, sku, got)
                if got != sku and "time" not in got:
                    self.reject(server, "", "after one call timed out, the next ones fail too", sku, got)

    def opens_another_connection(self) -> None:
        """The server ends the connection after its first reply: the next call may fail, and those after it may not."""
        last, unlucky, *others = self.skus
        server = OurServer(*self.pair, last=last)
        with self.calling(server) as child:
            self.returned(server, child, last)
            self.returned(server, child, unlucky)
            for sku in others:
                got, raised = self.returned(server, child, sku)
                if raised:
                    said = "the server has ended one connection, and your Caller does not open another"
                    self.reject(server, "keeps_a_broken_connection", said, sku, got)


def _spoken(first: bytes) -> tuple[str, str] | None:
    """What a client speaks, by its first six bytes; a frame of less than 16 MB begins with a zero."""
    transport, start = ("framed", first[4:]) if first[:1] == b"\0" else ("buffered", first)
    for protocol, mark in (("binary", b"\x80\x01"), ("compact", b"\x82"), ("JSON", b"[")):
        if start.startswith(mark):
            return protocol, transport
    return None
