"""The judge's side of a check of a Node class: stand-ins in a simulated world for nodes that live in a child process.

A `StandIn` hands each event of its node to the child (`labsupport.exercises.hosted`) and does, with its own context,
what the learner's node did there. So the world, its faults and its properties are the judge's alone, and whatever the
learner's code is up to, nothing comes back but deeds of a node.
"""

from __future__ import annotations

import json
import re
import socket
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from labsupport.errors import LabBug, LearnerError
from labsupport.exercises import hosted
from labsupport.exercises.answer import STEP_S, Answer, ChildEnded, Failure, Gone, Interrupted
from labsupport.messages import Error, Message, RequestFailed, body, copied, packed_body
from labsupport.node import Context, Node
from labsupport.sim.core import Core
from labsupport.sim.properties import Violated

LOAD_S = 60.0  # for the child's imports, on a machine that is busy with something else
HANDLER_S = 20.0  # a handler takes microseconds; one that takes this long never ends
LONGEST = 64_000_000  # bytes of one line
_DECODER = json.JSONDecoder(parse_constant=int)  # raises ValueError: NaN and infinity are not JSON
_TYPE = re.compile(r"[a-z0-9_]{1,200}\Z")


class Raised(Exception):
    """A handler of the learner's raised an exception.

    Attributes:
        failure: its name, its message and the learner's lines.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Letter(Message):
    """A message whose class is in another process; one subclass for each set of fields."""

    __slots__ = ("_parts",)

    @classmethod
    def _unpack(cls, parts: tuple, sender: str, msg_id: int | None) -> Letter:
        letter = object.__new__(cls)
        letter._parts, letter._sender, letter._msg_id = parts, sender, msg_id
        return letter

    def _pack(self) -> tuple:
        return self._parts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        for place, field in enumerate(self.wire_names):
            if field == name.rstrip("_"):
                return copied(self._parts[place])
        raise LearnerError(
            f"Your {self.wire_type} has no field {name!r}, and whoever receives it needs it.",
            cause=f"it has {', '.join(self.wire_names) or 'no fields'}",
            do="send the message as the exercise describes it",
        )

    def __repr__(self) -> str:
        fields = zip(self.wire_names, self._parts, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"


class Session:
    """The line to one child process in which a learner's node classes live; use it as a context manager.

    Args:
        answer: the learner's answer.
        names: those of its objects that are node classes; all when not given.

    Attributes:
        kinds: for each of the learner's names a node class that stands in for it.
        calls: how many events the child has handled.
    """

    def __init__(self, answer: Answer, *names: str) -> None:
        self._answer, self._buffer, self.calls = answer, b"", 0
        self._worlds: weakref.WeakKeyDictionary[Core, int] = weakref.WeakKeyDictionary()
        self._letters: dict[tuple, type[Message]] = {("error", "code", "text"): Error}
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._child = answer.start(
                hosted.serve_nodes, fds=[theirs.fileno()], fd=theirs.fileno(), names=names or answer.takes
            )
        self._socket.settimeout(STEP_S)
        try:
            (known,) = self._line("your class to be loaded", LOAD_S)
            self.kinds: dict[str, type[Node]] = {name: self._stand_in(name, types) for name, types in known.items()}
        except Gone as gone:
            self._socket.close()
            raise gone.reason from None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._child.close()

    # -------------------------------------------------------------------------------------------- asking the child

    def ask(self, waiting_for: str, *order: Any) -> list:
        """Hand over one line and return the child's next one.

        Raises:
            Gone: with `ChildEnded`, `TimeoutError` or `Interrupted` as its reason.
        """
        if self._answer.interrupted.is_set():
            raise Gone(Interrupted())
        self.calls += 1
        line = memoryview(json.dumps(order).encode() + b"\n")
        deadline = time.monotonic() + HANDLER_S
        while line:
            line = line[self._patiently(lambda rest=line: self._socket.send(rest), deadline, waiting_for) :]
        return self._line(waiting_for, HANDLER_S)

    def _line(self, waiting_for: str, timeout_s: float) -> list:
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            data = self._patiently(lambda: self._socket.recv(1_000_000), deadline, waiting_for)
            self._buffer += data
            if not data or len(self._buffer) > LONGEST:
                self._child.wait(0 if data else 5)
                raise Gone(ChildEnded(self._child, waiting_for))
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            told = _DECODER.decode(line.decode())
        except ValueError as error:
            raise Gone(_odd(str(error))) from None
        if not isinstance(told, list):
            raise Gone(_odd(repr(told)[:100]))
        return told

    def _patiently(self, act: Callable[[], Any], deadline: float, waiting_for: str) -> Any:
        while True:
            try:
                return act()
            except TimeoutError:
                if self._answer.interrupted.is_set():
                    raise Gone(Interrupted()) from None
                if time.monotonic() > deadline:
                    raise Gone(TimeoutError(f"waited too long for {waiting_for}")) from None
            except OSError:
                self._child.wait(5)
                raise Gone(ChildEnded(self._child, waiting_for)) from None

    def number_of(self, world: Core) -> int:
        """The child's number of a world, which begins there when it is first asked for."""
        if world not in self._worlds:
            number = self._worlds[world] = self.calls  # never used before, as the next line counts
            hosts = world.hosts.values()
            mine = {host.name: host.kind.called for host in hosts if issubclass(host.kind, StandIn)}
            peers = [host.name for host in hosts if not host.client]
            self.ask("a world to begin", "open", number, world.seed, list(world.hosts), peers, mine)
        return self._worlds[world]

    def shared(self) -> LearnerError | None:
        """What the learner's nodes share behind the network's back; None if nothing."""
        told = self.ask("a look at what your nodes share", "shared")
        if told and [type(text) for text in told] != [str, str, str]:
            raise _odd(str(told)[:100])
        return LearnerError(told[0], cause=told[1], do=told[2]) if told else None

    # -------------------------------------------------------------------------------------------- making classes

    def _stand_in(self, name: str, types: Sequence[str]) -> type[Node]:
        heard = {wire_type: StandIn.hear for wire_type in types if wire_type not in ("start", "timer")}
        space = {f"on_{wire_type}": handler for wire_type, handler in heard.items()}
        return type(name, (StandIn,), {**space, "session": self, "called": name, "heard": tuple(heard)})

    def letter(self, wire_type: str, fields: Mapping[str, Any]) -> Message:
        """A message with these fields."""
        key = (wire_type, *fields)
        kind = self._letters.get(key)
        if kind is None:
            if not _TYPE.match(wire_type):
                raise _odd(f"a message of the type {wire_type!r}")
            name = wire_type.title().replace("_", "")
            space = {"__slots__": (), "wire_type": wire_type, "wire_names": tuple(fields)}
            kind = self._letters[key] = type(name, (Letter,), space)
        return kind._unpack(tuple(fields.values()), "", None)


class StandIn(Node):
    """A node in the judge's world whose code runs in the child."""

    session: Session
    called: str
    heard: tuple[str, ...]

    @classmethod
    def __handlers__(cls) -> dict[str, Callable]:
        return {wire_type: cls.hear for wire_type in cls.heard}

    def on_start(self, ctx):
        self.number = self.session.number_of(ctx._world)
        self._lead(ctx, "start", "on_start", ctx._host.disk)

    def hear(self, message, sender, ctx):
        """Any message that the learner's class has a handler for."""
        full = packed_body(type(message), message._pack(), message._msg_id)
        self._lead(ctx, "hear", f"on_{message.wire_type}", sender, full)

    def on_timer(self, name, ctx):
        self._lead(ctx, "ring", "on_timer", name)

    async def _await(self, ctx: Context, token: int, awaited: Awaitable) -> None:
        """Wait for what a coroutine of the child waits for, and tell it."""
        try:
            answer = await awaited
        except RequestFailed as refused:
            answer = Error(refused.code, refused.text)
        except TimeoutError:
            answer = None
        if answer is None:
            self._lead(ctx, "late", "an `async def` handler", token)
        else:
            self._lead(ctx, "told", "an `async def` handler", token, body(answer, getattr(answer, "_msg_id", None)))

    def _lead(self, ctx: Context, what: str, handler: str, *rest: Any) -> None:
        """Let an event happen to the learner's node, and do here what it does there."""
        waiting_for = f"{handler} of {ctx.me} to return"
        deeds = self.session.ask(waiting_for, what, self.number, ctx.me, ctx.now(), *rest)
        while deeds:
            for deed in deeds:
                self._do(ctx, deed)
            deeds = self.session.ask(waiting_for, "went", True) if deeds[-1][0] == "save" else []

    def _do(self, ctx: Context, deed: list) -> None:
        try:
            act = _DEEDS[deed[0]]
            act(self, ctx, *deed[1:])
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            raise Gone(_odd(f"{str(deed)[:100]}, {error!r}")) from error

    def _send(self, ctx: Context, dest: str, wire_type: str, fields: dict, in_reply_to: int | None) -> None:
        letter = self.session.letter(wire_type, fields)
        if in_reply_to is None:
            ctx.send(dest, letter)
        else:
            ctx.reply(Letter._unpack((), dest, in_reply_to), letter)

    def _rpc(self, ctx: Context, token: int, dest: str, wire_type: str, fields: dict, timeout_s: float) -> None:
        self._begin(self._await(ctx, token, ctx.rpc(dest, self.session.letter(wire_type, fields), timeout_s)))

    def _sleep(self, ctx: Context, token: int, seconds: float) -> None:
        self._begin(self._await(ctx, token, ctx.sleep(seconds)))

    @staticmethod
    def _begin(waiting: Any) -> None:
        # Not ctx.spawn, which would begin it after what the handler does next: messages would change their order.
        wait = waiting.send(None)
        wait.coro = waiting

    def _timer(self, ctx: Context, name: Any, seconds: float) -> None:
        ctx.set_timer(tuple(name) if isinstance(name, list) else name, seconds)

    def _cancel(self, ctx: Context, name: Any) -> None:
        ctx.cancel_timer(tuple(name) if isinstance(name, list) else name)

    def _note(self, ctx: Context, what: str, facts: dict[str, Any]) -> None:
        ctx.note(what, **facts)

    def _save(self, ctx: Context, values: dict[str, Any]) -> None:
        try:
            ctx.save(**values)
        except BaseException:
            self.session.ask("a node to stop", "went", False)
            raise

    def _raise(self, ctx: Context, name: str, kind: str, what: str, cause: str, do: str, frames: list) -> None:
        failure = Failure.of(kind, what, frames)
        error = LearnerError(what, cause=cause, do=do) if cause or do else Raised(failure)
        place = f" in {failure.frames[-1][2]}, line {failure.frames[-1][1]}: {failure.frames[-1][3]}" if frames else ""
        raise Violated(name, what if isinstance(error, LearnerError) else f"{what}{place}", error)


_DEEDS: dict[str, Callable[..., None]] = {
    "send": StandIn._send,
    "rpc": StandIn._rpc,
    "sleep": StandIn._sleep,
    "timer": StandIn._timer,
    "cancel": StandIn._cancel,
    "note": StandIn._note,
    "save": StandIn._save,
    "raised": StandIn._raise,
}


def _odd(what: str) -> LabBug:
    """What to say when the child breaks the protocol; only code that writes to our socket can bring that about."""
    return LabBug(f"The process of your nodes told something that no node does: {what}.")
