"""Where the checks of the NATS lesson happen: a server, relays before it, and children that run the learner's code.

    check ──────────────────────────────┐
      │ commands (a connection of the   │
      │ driver's own, straight)         ▼
    child: driver ─ learner's nc ─▶ Relay ─▶ nats-server

Everything that the learner's connection says and hears passes a relay, frame by frame. The relay keeps it as the
history of the run, and can hold either direction back: so a check decides what has reached the server, and no verdict
depends on who happened to be faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import inspect
import json
import linecache
import pathlib
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import nats

from labsupport.exercises.answer import Answer, Child, ChildEnded
from labsupport.exercises.checking import Run
from labsupport.exercises.host import theirs
from labsupport.services import Nats

T = TypeVar("T")
PATIENCE_S = 20.0  # for what takes milliseconds; only an answer that never does it waits so long
MOST_HEARD = 16_000_000  # bytes in one direction; a check hears thousands, and a flood must not fill its memory
STUCK_S = 8.0  # an event loop that does not turn for so long is held by somebody
REST_S = 3.0  # so long a process sleeps that has nothing left to do; a busy machine keeps it waiting, not sleeping
LOOK_S = 0.1  # how often we look whether it sleeps


# ---------------------------------------------------------------- the wire


class Frame(NamedTuple):
    """One message of NATS's client protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol)."""

    verb: str
    subject: str  # of PUB, HPUB, MSG, HMSG and SUB
    reply: str
    body: bytes  # without headers
    raw: bytes


PLACE_OF_REPLY = {"PUB": 1, "HPUB": 1, "MSG": 2, "HMSG": 2}
NUMBERS_AT_END = {"PUB": 1, "HPUB": 2, "MSG": 1, "HMSG": 2}


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame; `asyncio.IncompleteReadError` at the end of the connection, ConnectionError for one too large."""
    line = await reader.readuntil(b"\r\n")
    verb, *words = line.decode("latin-1").split()
    verb = verb.upper()
    if verb not in NUMBERS_AT_END:
        return Frame(verb, words[0] if verb == "SUB" else "", "", b"", line)
    if int(words[-1]) > MOST_HEARD:
        raise ConnectionError("a frame that no server takes")
    payload = await reader.readexactly(int(words[-1]) + 2)
    named = words[: -NUMBERS_AT_END[verb]]
    place = PLACE_OF_REPLY[verb]
    headers = int(words[-2]) if verb in ("HPUB", "HMSG") else 0
    reply = named[place] if len(named) > place else ""
    return Frame(verb, words[0], reply, payload[headers:-2], line + payload)


class Lane:
    """One direction of a relay: what has passed, what waits, and whether it is open."""

    def __init__(self) -> None:
        self.passed: list[Frame] = []
        self.waiting: list[Frame] = []
        self.heard = 0  # bytes, on all connections
        self.is_open = True
        self.shut_after: Callable[[Frame], bool] = lambda frame: False
        self._writer: asyncio.StreamWriter | None = None

    def shut(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True
        self._push()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while self.heard < MOST_HEARD:
                self.waiting.append(await read_frame(reader))
                self.heard += len(self.waiting[-1].raw)
                self._push()

    def _push(self) -> None:
        while self.is_open and self.waiting:
            frame = self.waiting.pop(0)
            self._writer.write(frame.raw)
            self.passed.append(frame)
            self.is_open = not self.shut_after(frame)


class Relay:
    """A stretch of wire between one client and the server; `up` leads to the server, `down` to the client."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self.up, self.down = Lane(), Lane()
        self.closed = False
        self._tasks: list[asyncio.Future] = []

    async def start(self) -> Relay:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    @property
    def url(self) -> str:
        port = self._listener.sockets[0].getsockname()[1]
        user, _, _ = self._server.netloc.rpartition("@")
        return f"nats://{user + '@' if user else ''}127.0.0.1:{port}"

    async def stop(self) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._server.hostname, self._server.port or 4222)
        ways = [
            asyncio.ensure_future(self.up.carry(reader, far_writer)),
            asyncio.ensure_future(self.down.carry(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:  # one end gone is both gone, and what was held back is lost with the wire
            self.closed = True
            for way, end in zip(ways, (far_writer, writer), strict=True):
                way.cancel()
                end.close()
            await asyncio.gather(*ways, return_exceptions=True)


async def round_trip(nc: Any) -> None:
    """Return when the server has processed all that was sent on this connection, and we have all that it sent before.

    One `flush` of nats-py does not say so: it writes its PING at once, past what waits in the client's buffer (2.16,
    `_send_ping`). While the first is under way the buffer is written; the second one follows it.
    """
    await nc.flush()
    await nc.flush()


# ---------------------------------------------------------------- in the child


@contextlib.asynccontextmanager
async def reins(tell: Callable[..., None], url: str, name: str, **commands: Callable[..., Any]) -> AsyncIterator[None]:
    """In the child: obey the check's commands on a connection of our own, and notice an event loop that stands."""

    async def obey(message: Any) -> None:
        order = json.loads(message.data)
        value = commands[order.pop("do")](**order)
        if inspect.isawaitable(value):
            value = await value
        await message.respond(json.dumps(value).encode())

    control = await nats.connect(url, error_cb=pass_over)
    await control.subscribe(name, cb=obey)
    await round_trip(control)
    arguments = (tell, asyncio.get_running_loop(), threading.get_ident(), threading.get_native_id())
    threading.Thread(target=_watch_the_loop, args=arguments, name="watch", daemon=True).start()
    tell("connected")
    yield
    await control.close()


def _watch_the_loop(tell: Any, loop: asyncio.AbstractEventLoop, thread: int, native: int) -> None:
    while not loop.is_closed():
        turned, asleep, deadline = threading.Event(), 0.0, time.monotonic() + STUCK_S
        try:
            loop.call_soon_threadsafe(turned.set)
        except RuntimeError:
            return  # it closed in this moment
        while not turned.wait(LOOK_S) and asleep < REST_S and time.monotonic() < deadline:
            asleep += LOOK_S * sleeps([f"/proc/self/task/{native}"])
        if not turned.is_set():
            frames = theirs(traceback.extract_stack(sys._current_frames()[thread]))
            if frames:  # else it is the machine that stands still
                tell("stuck", frames=frames)
                return
        time.sleep(0.2)


def sleeps(threads: Sequence[str]) -> bool:
    """Whether each of these threads, directories of /proc, waits for something; False where that cannot be seen."""
    states = []
    for thread in threads:
        with contextlib.suppress(OSError):  # it has ended, or there is no /proc
            states.append(pathlib.Path(thread, "stat").read_bytes().rpartition(b")")[2].split()[0])
    return set(states) == {b"S"}


# ---------------------------------------------------------------- in the check


class Actor:
    """A child with its stretch of wire: what it told, what passed, and how to command it."""

    def __init__(self, stage: Stage, name: str, relay: Relay, child: Child) -> None:
        self.stage, self.name, self.relay, self.child = stage, name, relay, child
        self.events: list[dict[str, Any]] = []
        self.killed = False

    def heard(self, *names: str) -> list[dict[str, Any]]:
        """All events of these names so far."""
        self.events += self.child.events(timeout_s=0)
        return [told for told in self.events if told["event"] in names]

    async def command(self, do: str, **args: Any) -> Any:
        """Have the driver do something, and return its answer."""
        order = json.dumps({"do": do, **args}).encode()
        asked = asyncio.ensure_future(self.stage.nc.request(self.name, order, timeout=3 * PATIENCE_S))
        await self.stage.until(asked.done, f"the command {do!r} to be carried out")
        return json.loads(asked.result().data)

    def rests(self) -> Callable[[], bool]:
        """A function that, asked again and again, says whether all of the process has slept for `REST_S`."""
        asleep, looked = 0.0, 0.0

        def rest() -> bool:
            nonlocal asleep, looked
            if time.monotonic() - looked > LOOK_S:
                looked = time.monotonic()
                asleep += LOOK_S * sleeps(glob.glob(f"/proc/{self.child.pid}/task/*"))
            return asleep >= REST_S

        return rest

    async def kill(self) -> None:
        self.killed = True
        await asyncio.to_thread(self.child.kill)


class Stage:
    """The server, the check's own connection to it, and the children; an asynchronous context manager."""

    def __init__(self, answer: Answer, run: Run) -> None:
        self.answer, self.run = answer, run
        self.actors: list[Actor] = []
        self.watch: Callable[[Actor], None] = lambda actor: None  # called for each child while something is waited for

    async def __aenter__(self) -> Stage:
        self._lent = self.run.lend(Nats)
        self.server = await asyncio.to_thread(self._lent.__enter__)
        self.nc = await nats.connect(self.server.url, error_cb=pass_over)
        return self

    async def __aexit__(self, *how: object) -> None:
        try:
            for actor in self.actors:
                await actor.kill()  # before the server: what a client says about a lost connection is not the learner's
                await actor.relay.stop()
            await self.nc.close()
        finally:
            await asyncio.to_thread(self._lent.__exit__, *how)

    async def child(self, driver: Callable[..., Any], **args: Any) -> Actor:
        """Start a child whose driver takes `url` (through a relay), `direct` and `control` besides `args`."""
        relay = await Relay(self.server.url).start()
        name = f"check.{len(self.actors)}"
        child = self.answer.start(driver, url=relay.url, direct=self.server.url, control=name, **args)
        self.actors.append(Actor(self, name, relay, child))
        return self.actors[-1]

    async def until(self, condition: Callable[[], T], what: str, timeout_s: float = PATIENCE_S) -> T:
        """Wait until `condition` is true and return what it gives.

        Raises:
            ChildEnded: a child ended instead.
            TimeoutError: nothing happened in `timeout_s`.
        """

        def look() -> T:
            found = condition()
            for actor in self.actors if not found else ():
                self._stands_still(actor)
                self.watch(actor)
                over = not actor.child.running and actor.child.wait(5)
                if not actor.killed and (over or actor.child.failure):
                    found = condition()  # with its last words
                    if not found:
                        raise ChildEnded(actor.child, what)
            return found

        # In a thread, because the relays run in this loop.
        return await asyncio.to_thread(self.run.wait_until, look, what, timeout_s, 0.01)

    def _stands_still(self, actor: Actor) -> None:
        for told in actor.heard("stuck"):
            self.run.reject(
                "blocks_the_event_loop" if "blocks_the_event_loop" in self.run.exercise.misconceptions else "",
                "your function held the event loop for many seconds: nothing else in its process could run",
                expected="it waits with await, so that the client can read from the network meanwhile",
                got="it never gave the event loop back",
                evidence=["the event loop stands still in", *(_frame_line(*frame) for frame in told["frames"])],
            )

    async def happens(self, condition: Callable[[], T], what: str, timeout_s: float) -> T | None:
        """As `until`, with None for what did not happen."""
        try:
            return await self.until(condition, what, timeout_s)
        except TimeoutError:
            return None

    async def publish(self, subject: str, body: object) -> None:
        """Publish JSON and return when the server has it."""
        await self.nc.publish(subject, json.dumps(body).encode())
        await round_trip(self.nc)


def _frame_line(file: str, line: int, function: str, text: str) -> str:
    """One frame in words; only the process that holds the notebook has the text of its cells."""
    return f"line {line}, in {function}: {text or linecache.getline(file, line).strip()}"


async def pass_over(error: Exception) -> None:
    """A lost connection shows itself in what it was used for; the client's log would only repeat it."""


def decoded(data: bytes) -> Any:
    """The JSON value, or None for bytes that are no JSON."""
    try:
        return json.loads(data)
    except ValueError:
        return None
