"""Relay TCP connections through this process, so that each direction of each can be held, slowed, cut or listened to.

    Relay     listens on ports of this machine and connects onwards; one thread for all of its connections
    Link      one connection: two sockets and two streams
    Stream    one direction of a link; a subclass decides which of the waiting bytes may pass

A relay that lets everything pass changes nothing that its two ends can see, but for the time that it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TypeVar

Value = TypeVar("Value")
Kind = TypeVar("Kind", bound="Relay")
HOST = "127.0.0.1"
# What a stream keeps before it stops reading, as a network and two kernels do between them: the sender then waits.
KEPT_BYTES = 256 * 1024
CONNECT_S = 10.0
_open_relays: weakref.WeakSet[Relay] = weakref.WeakSet()


class Stream:
    """One direction of a link. Everything in it happens in the relay's thread.

    Attributes:
        waiting: the bytes that have come and not gone.
        ended: how its source has ended: "closed", "reset", or "" while it goes on.
        over: nothing passes any more: its end has been passed on, or was thrown away.
    """

    resets_pass = True  # whether an end that breaks the connection is passed on as such

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.over = False
        self.link: Link
        self.source: _Side
        self.sink: _Side
        self.ended = ""
        self._again: asyncio.TimerHandle | None = None

    # ---- what a subclass says

    def arrived(self, size: int) -> None:
        """Called when `size` more bytes wait (0: the end of the stream has come)."""

    def allowed(self) -> int:
        """How many of the waiting bytes may pass now; asked again after `look_again_at`, or when the rules change."""
        return len(self.waiting)

    def passed(self, size: int) -> None:
        """Called when bytes have gone."""

    def may_end(self) -> bool:
        """Whether the end may pass, now that no byte waits."""
        return True

    def has_room(self) -> bool:
        """Whether more bytes may come and wait; while not, their sender waits."""
        return len(self.waiting) < KEPT_BYTES

    # ---- what it may do

    def look_again_at(self, when: float) -> None:
        """Ask `allowed` and `may_end` again at a time of the relay's clock."""
        if self._again is not None:
            self._again.cancel()
        self._again = self.link.relay.loop.call_at(when, self.pump)

    def end(self, how: str = "closed") -> None:
        """Throw away what waits, end the stream for its sink ("closed" or "reset"), and let nothing pass any more."""
        if not self.over:
            self.over = True
            self.waiting.clear()
            self.sink.end(how)
        self.throttle()
        self.link.settle()

    # ---- for the relay

    def feed(self, data: bytes) -> None:
        if not self.over:
            self.waiting += data
            self.arrived(len(data))
            self.pump()
        elif self.resets_pass and self.sink.gone:
            self.source.reset()  # as a kernel answers who goes on sending
        # Else what comes after the end is still read: unread bytes would turn the end of the connection into a reset,
        # and a reset makes the other side forget what it has not read yet.

    def feed_end(self, how: str) -> None:
        self.ended = how
        if not self.over:
            self.arrived(0)
            self.pump()
        elif how == "reset" and self.resets_pass and self.may_end():
            self.sink.reset()  # the end was an orderly one until now
        self.link.settle()

    def pump(self) -> None:
        """Pass on what may pass now."""
        if self.sink.transport is None:
            return  # the way to the server is not open yet
        while self.waiting and not self.over and (size := self.allowed()):
            self.sink.transport.write(bytes(self.waiting[:size]))
            del self.waiting[:size]
            self.passed(size)
        if self.ended and not self.waiting and not self.over and self.may_end():
            self.end(self.ended if self.resets_pass else "closed")
        self.throttle()

    def throttle(self) -> None:
        """Read from the source, or let it wait."""
        self.source.read(self.over or (self.sink.transport is not None and not self.sink.full and self.has_room()))


class _Side(asyncio.Protocol):
    """One socket of a link: bytes from it go into `outgoing`."""

    def __init__(self, link: Link, outgoing: Stream, incoming: Stream) -> None:
        self.link, self.outgoing, self.incoming = link, outgoing, incoming
        outgoing.source = incoming.sink = self
        self.full = self.ended = False
        self.transport: asyncio.Transport | None = None

    @property
    def gone(self) -> bool:
        return self.transport is not None and self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.link.relay.loop.call_soon(self.outgoing.throttle)  # at once would be too early for Python 3.10
        self.link.made(self)

    def data_received(self, data: bytes) -> None:
        self.outgoing.feed(data)

    def eof_received(self) -> bool:
        self._ends("closed")
        return True  # the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        self._ends("reset" if error else "closed")
        self.incoming.over = True
        self.link.settle()

    def _ends(self, how: str) -> None:
        if not self.ended or how == "reset":
            self.ended = True
            self.outgoing.feed_end(how)

    def pause_writing(self) -> None:
        self.full = True
        self.incoming.throttle()

    def resume_writing(self) -> None:
        self.full = False
        self.incoming.throttle()

    def read(self, wanted: bool) -> None:
        if self.transport is not None and not self.ended and not self.gone:
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()

    def end(self, how: str) -> None:
        if how == "reset":
            self.reset()
        elif self.transport is not None and not self.gone:
            with contextlib.suppress(OSError):
                self.transport.write_eof()

    def reset(self) -> None:
        """Break the connection: its other end gets an RST, and loses what it has not read."""
        if self.transport is not None and not self.gone:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.drop()

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Link:
    """One connection through a relay: `there` is the stream to the server, `back` the one to the client."""

    def __init__(self, relay: Relay, there: Stream, back: Stream) -> None:
        self.relay, self.there, self.back = relay, there, back
        there.link = back.link = self
        self.near, self.far = _Side(self, there, back), _Side(self, back, there)
        self.over = threading.Event()

    def reset(self) -> None:
        """Break the connection at both ends."""
        for stream in (self.there, self.back):
            stream.over = True
            stream.waiting.clear()
        self.near.reset()
        self.far.reset()
        self._finish()

    def drop(self) -> None:
        """Close both sockets."""
        self.near.drop()
        self.far.drop()
        self._finish()

    def made(self, side: _Side) -> None:
        if side is self.near:
            self.relay._opened(self)

    def settle(self) -> None:
        """Close the sockets when both ends have said their last word and it has been passed on."""
        if self.there.over and self.back.over and self.near.ended and self.far.ended and not self.over.is_set():
            for side in (self.near, self.far):
                side.transport.close()
            self._finish()

    def _finish(self) -> None:
        self.relay.links.discard(self)
        self.over.set()


class Relay:
    """Relays between ports of this machine and servers; use it as a context manager, or call `close`."""

    def __init__(self) -> None:
        self.links: set[Link] = set()
        self.loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._places: dict[Link, tuple[str, int]] = {}
        self._tasks: set[asyncio.Task] = set()
        self._changed = asyncio.Event()
        self._owner = os.getpid()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()
        _open_relays.add(self)

    def may_open(self, link: Link) -> bool:
        """Whether a new connection may reach the server now; asked again when the rules change."""
        return True

    def listen(
        self, host: str, port: int, streams: Callable[[], tuple[Stream, Stream]], at: tuple[str, int] = (HOST, 0)
    ) -> int:
        """Relay connections to a server from now on.

        Args:
            host, port: where the server is.
            streams: makes the two streams of a new link, the one to the server first.
            at: the address to listen at; port 0 is any that is free.

        Returns:
            The port on which this relay listens for it.
        """

        def protocol() -> _Side:
            link = Link(self, *streams())
            self._places[link] = (host, port)
            return link.near

        async def serve() -> asyncio.Server:
            return await self.loop.create_server(protocol, *at)

        server = asyncio.run_coroutine_threadsafe(serve(), self.loop).result()
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    def call(self, act: Callable[[], Value]) -> Value:
        """Run `act` in the relay's thread, let every stream ask again what may pass, and return."""

        async def change() -> Value:
            value = act()
            self.announce()
            return value

        return asyncio.run_coroutine_threadsafe(change(), self.loop).result()

    def poke(self) -> None:
        """Let every stream ask again, soon; may be called from any thread, and after the end."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.announce)

    def announce(self) -> None:
        """Let every stream and every new connection ask again; for the relay's own thread."""
        self._changed.set()
        self._changed = asyncio.Event()
        for link in list(self.links):
            link.there.pump()
            link.back.pump()

    def spawn(self, work: Coroutine) -> None:
        """Run a coroutine in the relay's thread, until it ends or the relay is closed; for that thread itself."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def closed(self) -> bool:
        return self.loop.is_closed()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self.closed or self._owner != os.getpid():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def __enter__(self: Kind) -> Kind:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- inside

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            for server in self._servers:
                server.close()
            for task in self._tasks:
                task.cancel()
            for link in [*self.links, *self._places]:
                link.drop()
            self.loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self.loop.run_until_complete(asyncio.sleep(0))  # the sockets close in the next round
            self.loop.close()

    def _opened(self, link: Link) -> None:
        self.links.add(link)
        self.spawn(self._connect(link, *self._places.pop(link)))

    async def _connect(self, link: Link, host: str, port: int) -> None:
        while not self.may_open(link):
            await self._changed.wait()
        try:
            await asyncio.wait_for(self.loop.create_connection(lambda: link.far, host, port), CONNECT_S)
        except (OSError, asyncio.TimeoutError):
            link.reset()  # the server is down: to a client this looks like a connection that breaks at once
            return
        if link.over.is_set():
            link.far.drop()
        for stream in (link.there, link.back):
            stream.pump()
            stream.throttle()

    def _forget(self) -> None:
        """In a forked child: let go of the sockets, so that they close when the parent closes them."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        sockets = [each for server in self._servers for each in server.sockets]
        sides = [side for link in self.links for side in (link.near, link.far) if side.transport is not None]
        for each in [*sockets, *(side.transport.get_extra_info("socket") for side in sides)]:
            if each is not None and each.fileno() >= 0:
                os.dup2(nowhere, each.fileno())
        os.close(nowhere)


def _forget_all() -> None:
    for relay in list(_open_relays):
        relay._forget()


os.register_at_fork(after_in_child=_forget_all)
