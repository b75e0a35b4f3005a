"""Where one `Node` lives when it is a real process: real time, real lines of JSON, a real disk.

Handlers run one after the other in an asyncio loop. An ``async def`` handler begins at once, as in the simulation, and
may await what its context offers; anything else is refused with the same words, so that a node which works here works
there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import traceback
import types
from collections.abc import Callable, Coroutine
from typing import Any

from labsupport import node as contract
from labsupport.cluster import SERVICES, TRACE, refusal
from labsupport.cluster.disk import Disk
from labsupport.errors import LearnerError
from labsupport.messages import Message, copied, from_body, not_a_message, plain, sender_of
from labsupport.node import Context, Node

TOGETHER = 64  # messages written with one system call at most, so that the first does not wait for many others
READ_BYTES = 65_536
IDS_PER_LIFE = 1_000_000  # so that an answer to a request of an earlier life fits no request of this one

_CLIENT = re.compile(r"c\d+")
_write = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Wait:
    """What a suspended coroutine waits for: the answer to a request, or the end of a sleep."""

    __slots__ = ("alarm", "coro", "dest", "seconds", "what")

    def __init__(self, dest: str, what: str, seconds: float) -> None:
        self.dest, self.what, self.seconds = dest, what, seconds
        self.alarm: asyncio.TimerHandle | None = None
        self.coro: Coroutine | None = None


class RealContext(Context):
    """The context of a node that is a process."""

    def __init__(self, host: Host, me: str, peers: tuple[str, ...], stream: random.Random) -> None:
        self._host, self.me, self.peers, self.random = host, me, peers, stream

    def send(self, dest, message):
        self._host.send(dest, message)

    def reply(self, message, answer):
        sender, msg_id = sender_of(message)
        self._host.send(sender, answer, None, msg_id)

    @types.coroutine
    def rpc(self, dest, message, timeout_s=1.0):
        return (yield self._host.call(dest, message, timeout_s))

    @types.coroutine
    def sleep(self, seconds):
        yield self._host.nap(seconds)

    def spawn(self, coroutine):
        if not isinstance(coroutine, types.CoroutineType):
            raise LearnerError(
                f"ctx.spawn got {coroutine!r}.",
                do="give it a call of an `async def`, for example ctx.spawn(self.ask(peer, ctx))",
            )
        self._host.spawned.append(coroutine)

    def set_timer(self, name, seconds):
        self._host.set_timer(name, seconds)

    def cancel_timer(self, name):
        self._host.cancel_timer(name)

    def save(self, **values):
        self._host.save(values)

    def load(self, name, default=None):
        disk = self._host.disk
        return copied(disk[name]) if name in disk else default

    def now(self):
        return self._host.loop.time() - self._host.origin_s

    def note(self, what, **facts):
        self._host.tell("note", (what, {name: plain(value) for name, value in facts.items()}))


class Host:
    """One node and its standard streams.

    Args:
        kind: the learner's class.
        fds: where to read messages and where to write them.
        directory: where its journal is kept; None keeps what it saves in memory.
        seed: for the node's own stream of random numbers; None draws one.
        life: how many times it was restarted.
        origin_s: the time of the monotonic clock that `ctx.now` counts from.
        traced: whether it tells timers, notes and saves to the cluster, as messages to `TRACE`.
    """

    def __init__(
        self,
        kind: type[Node],
        fds: tuple[int, int] = (0, 1),
        *,
        directory: Any = None,
        seed: int | None = None,
        life: int = 0,
        origin_s: float = 0.0,
        traced: bool = False,
    ) -> None:
        self.kind, self.table = kind, contract.handlers_of(kind)
        self.input, self.output = fds
        self.directory, self.seed, self.life, self.origin_s, self.traced = directory, seed, life, origin_s, traced
        self.loop = asyncio.new_event_loop()
        self.error: BaseException | None = None
        self.disk = Disk(None)
        self.name = ""
        self.node: Node | None = None
        self.ctx: RealContext | None = None
        self.spawned: list[Coroutine] = []
        self._handlers: dict[str, Callable] = {}
        self._known: set[str] = set()
        self._early: list[dict] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._timer_names: set[str] = set()
        self._waits: dict[int, Wait] = {}
        self._token = life * IDS_PER_LIFE
        self._out: list[str] = []
        self._unread = b""

    # -------------------------------------------------------------------------------------------- running

    def run(self) -> int:
        """Serve until standard input ends or a handler raises; the exit status."""
        try:
            self.loop.add_reader(self.input, self._guarded, self._readable)
        except PermissionError:  # a file, which no system can wait for
            self.loop.call_soon(self._guarded, self._read_file)
        try:
            self.loop.run_forever()
        finally:
            with contextlib.suppress(BrokenPipeError):
                self.flush()
        return 0 if self.error is None else 1

    def _guarded(self, act: Callable, *args: Any) -> None:
        """Run one callback; an exception ends the node, as it ends a run in the simulation."""
        try:
            act(*args)
            self.flush()
        except BrokenPipeError:
            self.loop.stop()  # nobody listens any more
        except BaseException as error:
            self.error = error
            self.loop.stop()

    def _readable(self) -> None:
        data = os.read(self.input, READ_BYTES)
        if not data:
            self.loop.stop()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._take(json.loads(line))

    def _read_file(self) -> None:
        self._readable()
        self.loop.call_soon(self._guarded, self._read_file)

    def report(self) -> str:
        """What ended the node, for its standard error."""
        error, who = self.error, self.name or "The node"
        if isinstance(error, LearnerError):
            return str(error)
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return f"{lines}{who} raised {error!r}, and that ended its process."

    # -------------------------------------------------------------------------------------------- hearing

    def _take(self, message: dict) -> None:
        body, source = message["body"], message.get("src") or ""
        reply_to = body.get("in_reply_to")
        if reply_to is not None:
            wait = self._waits.pop(reply_to, None) if isinstance(reply_to, int) else None
            if wait is not None:  # else it comes too late
                self._answer(wait, body, source)
        elif self.node is not None:
            self._handle(body, source)
        elif body.get("type") == "init":
            self._init(body, source)
        else:
            self._early.append(message)  # a peer was faster than whoever starts us all

    def _init(self, body: dict, source: str) -> None:
        self.name = body["node_id"]
        names = sorted(body["node_ids"], key=_natural)
        self._known = {*names, *SERVICES}
        if self.directory is not None:
            self.disk = Disk(self.directory / f"{self.name}.journal")
        life = f"/{self.life}" if self.life else ""
        stream = random.Random(None if self.seed is None else f"{self.seed}/node/{self.name}{life}")
        self.ctx = RealContext(self, self.name, tuple(name for name in names if name != self.name), stream)
        self.node = contract.made(self.kind)
        self._go_on(self.node.on_start(self.ctx), "on_start")
        self.write(source, {"type": "init_ok", "in_reply_to": body.get("msg_id")})
        for message in self._early:
            self._take(message)

    def _handle(self, body: dict, source: str) -> None:
        wire_type = body.get("type")
        if not isinstance(wire_type, str):
            wire_type = str(wire_type)
            body = {**body, "type": wire_type}
        handler = self._handlers.get(wire_type)
        if handler is None:
            handler = self._find_handler(wire_type, body, source)
            if handler is None:
                return
        self._known.add(source)
        try:
            message = from_body(body, source)
        except LearnerError as error:
            self._refuse(12, body, source, error)
            return
        self._go_on(handler(message, source, self.ctx), f"on_{wire_type}")

    def _find_handler(self, wire_type: str, body: dict, source: str) -> Callable | None:
        if wire_type in self.table:
            handler = self._handlers[wire_type] = getattr(self.node, f"on_{wire_type}")
            return handler
        try:
            error = contract.no_handler(self.kind, self.name, source, from_body(body, source))
        except LearnerError:
            error = LearnerError(
                f"{self.name} received a message of the type {wire_type!r} from {source}: {_write(body)}",
                cause=contract.close_to(str(wire_type), self.table) or f"{self.kind.__name__} does not know this type",
                do=f"write a @message class for it, and `def on_{wire_type}(self, message, sender, ctx):`",
            )
        self._refuse(10, body, source, error)
        return None

    def _refuse(self, code: int, body: dict, source: str, error: LearnerError) -> None:
        """A client is told what was wrong with its request; between nodes it is a mistake of the class."""
        if body.get("msg_id") is None or not _CLIENT.fullmatch(source):
            raise error
        answer = {"type": "error", "in_reply_to": body["msg_id"], "code": code, "text": str(error)}
        self.write(source, answer)
        os.write(2, f"{error}\n".encode(errors="replace"))

    def _answer(self, wait: Wait, body: dict, source: str) -> None:
        wait.alarm.cancel()
        if body.get("type") == "error":
            self._resume(wait.coro, None, refusal(body))
        else:
            self._resume(wait.coro, from_body(body, source))

    # -------------------------------------------------------------------------------------------- coroutines

    def _go_on(self, result: Any, handler: str) -> None:
        """Begin the coroutine that a handler has returned, and those that it spawned."""
        if result.__class__ is types.CoroutineType:
            self._resume(result)
        elif isinstance(result, Message):
            raise contract.lost_answer(self.kind, handler, result)
        while self.spawned:
            self._resume(self.spawned.pop(0))

    def _resume(self, coro: Coroutine, value: Any = None, error: Exception | None = None) -> None:
        try:
            wait = coro.send(value) if error is None else coro.throw(error)
        except StopIteration:
            pass
        else:
            if wait.__class__ is not Wait:
                awaited = f"{type(wait).__module__}.{type(wait).__qualname__}"
                raise contract.foreign_await(coro.__qualname__, awaited)
            wait.coro = coro
        if self.spawned:
            self._go_on(None, "")

    def call(self, dest: str, message: Message, timeout_s: float) -> Wait:
        """Send a request; what its coroutine waits for."""
        wait = Wait(dest, getattr(message, "wire_type", ""), timeout_s)
        self._expect(wait, "rpc")
        self.send(dest, message, self._token)
        return wait

    def nap(self, seconds: float) -> Wait:
        """Begin a sleep; what its coroutine waits for."""
        wait = Wait("", "", seconds)
        self._expect(wait, "sleep")
        return wait

    def _expect(self, wait: Wait, call: str) -> None:
        self._token = token = self._token + 1
        wait.alarm = self._later(wait.seconds, call, self._expire, token)
        self._waits[token] = wait

    def _expire(self, token: int) -> None:
        wait = self._waits.pop(token)
        if not wait.dest:
            self.tell("wake", None)
            self._resume(wait.coro)
            return
        self.tell("timeout", (wait.dest, wait.what))
        sentence = f"{wait.dest} did not answer {wait.what} within {wait.seconds} s"
        self._resume(wait.coro, None, TimeoutError(sentence))

    def _later(self, seconds: float, call: str, act: Callable, *args: Any) -> asyncio.TimerHandle:
        try:
            if 0 <= seconds < float("inf"):
                return self.loop.call_later(seconds, self._guarded, act, *args)
        except (TypeError, ValueError, OverflowError):
            pass
        raise contract.bad_duration(self.name, call, seconds)

    # -------------------------------------------------------------------------------------------- timers and disk

    def set_timer(self, name: str, seconds: float) -> None:
        """See `Context.set_timer`."""
        if not hasattr(self.node, "on_timer"):
            raise contract.no_timer_handler(self.kind, self.name, name)
        self._timer_names.add(name)
        alarm = self._later(seconds, "set_timer", self._fire, name)
        before, self._timers[name] = self._timers.get(name), alarm
        if before is not None:
            before.cancel()

    def cancel_timer(self, name: str) -> None:
        """See `Context.cancel_timer`."""
        alarm = self._timers.pop(name, None)
        if alarm is not None:
            alarm.cancel()
        elif name not in self._timer_names and (slip := contract.unknown_timer(self.name, name, self._timer_names)):
            raise slip

    def _fire(self, name: str) -> None:
        del self._timers[name]
        self.tell("timer", name)
        self._go_on(self.node.on_timer(name, self.ctx), "on_timer")

    def save(self, values: dict[str, Any]) -> None:
        """See `Context.save`."""
        values = {name: plain(value) for name, value in values.items()}
        self.disk.save(values)
        self.tell("save", values)

    # -------------------------------------------------------------------------------------------- speaking

    def send(self, dest: str, message: Message, msg_id: int | None = None, in_reply_to: int | None = None) -> None:
        """Put a message with what will be written next."""
        if not isinstance(message, Message):
            raise not_a_message(message)
        if dest not in self._known and not (isinstance(dest, str) and _CLIENT.fullmatch(dest)):
            raise contract.unknown_node(self.name, dest, sorted(self._known, key=_natural))
        kind = message.__class__
        body: dict[str, Any] = {"type": kind.wire_type}
        if msg_id is not None:
            body["msg_id"] = msg_id
        if in_reply_to is not None:
            body["in_reply_to"] = in_reply_to
        body.update(zip(kind.wire_names, message._pack(), strict=True))
        self.write(dest, body)

    def write(self, dest: str, body: dict[str, Any]) -> None:
        """Put a body with what will be written next."""
        self._out.append(_write({"src": self.name, "dest": dest, "body": body}))
        if len(self._out) >= TOGETHER:
            self.flush()

    def tell(self, kind: str, detail: Any) -> None:
        """Tell the cluster's trace of something that no message shows."""
        if self.traced:
            self.write(TRACE, {"kind": kind, "detail": detail})
        elif kind == "note":
            os.write(2, f"{self.name} {detail[0]} {_write(detail[1])}\n".encode())

    def flush(self) -> None:
        """Write what was put."""
        if self._out:
            data = ("\n".join(self._out) + "\n").encode()
            self._out.clear()
            while data:
                data = data[os.write(self.output, data) :]


def _natural(name: str) -> tuple:
    """n2 before n10."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)
