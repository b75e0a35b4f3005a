"""The contract between a learner's node and the world that runs it: `Node` and `Context`.

    class Ponger(Node):
        def on_ping(self, message, sender, ctx):
            ctx.reply(message, Pong(message.number))

The same class runs in the simulation, in the exploration and as a real process. A handler runs to its end before the
next one starts. An ``async def`` handler may stop at ``await ctx.rpc(...)`` and ``await ctx.sleep(...)``; others run
meanwhile.
"""

from __future__ import annotations

import abc
import difflib
import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from labsupport.errors import LearnerError
from labsupport.messages import KNOWN, Message

_OWN = {"on_start": ("ctx",), "on_timer": ("name", "ctx")}
_ON_MESSAGE = ("message", "sender", "ctx")


class Node:
    """One node: a state machine that only hears and speaks through its context.

    Write ``on_start(self, ctx)``, ``on_timer(self, name, ctx)`` and one ``on_<message>(self, message, sender, ctx)``
    for each message that it understands. ``on_start`` runs at every start, also after a crash: what `Context.save` has
    not saved is gone by then, together with all timers and everything that was being awaited.

    Raises:
        LearnerError: at the definition of the class, when a handler does not take the right arguments.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, found in cls.__dict__.items():
            if name.startswith("on_") and inspect.isfunction(found):
                _check_arguments(cls, name, found)

    def on_start(self, ctx: Context) -> Any:
        """Called when the node starts, for the first time or again after a crash."""


class Context(abc.ABC):
    """A node's only way to the world."""

    me: str  # this node's name, such as "n1"
    peers: tuple[str, ...]  # the names of the other nodes, sorted
    random: random.Random  # this node's own stream of random numbers

    @abc.abstractmethod
    def send(self, dest: str, message: Message) -> None:
        """Send a message; it may arrive late, twice, out of order or never."""

    @abc.abstractmethod
    def reply(self, message: Message, answer: Message) -> None:
        """Answer a message that a handler was given, now or later."""

    @abc.abstractmethod
    def rpc(self, dest: str, message: Message, timeout_s: float = 1.0) -> Awaitable[Message]:
        """Send a request and await its answer.

        Raises:
            TimeoutError: no answer came in time; the request may have happened or not.
            RequestFailed: the other side answered with an `Error`.
        """

    @abc.abstractmethod
    def sleep(self, seconds: float) -> Awaitable[None]:
        """Await the passing of time on this node's clock."""

    @abc.abstractmethod
    def spawn(self, coroutine: Coroutine) -> None:
        """Let a coroutine run on its own, beginning when the present handler stops or ends."""

    @abc.abstractmethod
    def set_timer(self, name: str, seconds: float) -> None:
        """Call ``on_timer(name, ctx)`` once, after so many seconds; a timer of that name begins anew."""

    @abc.abstractmethod
    def cancel_timer(self, name: str) -> None:
        """Forget a timer; nothing happens if it is not running."""

    @abc.abstractmethod
    def save(self, **values: Any) -> None:
        """Write values to this node's disk, all or none of them; they are safe when this returns.

        A crash can come right before or right after it, in the middle of a handler.
        """

    @abc.abstractmethod
    def load(self, name: str, default: Any = None) -> Any:
        """What was last saved under this name; the default if nothing was."""

    @abc.abstractmethod
    def now(self) -> float:
        """Seconds on this node's own clock, which may be ahead of the others' or behind."""

    @abc.abstractmethod
    def note(self, what: str, **facts: Any) -> None:
        """Say for the record that something has happened, such as ``ctx.note("leader", term=3)``."""


def made(kind: type[Node]) -> Node:
    """A new node of a class.

    Raises:
        LearnerError: its ``__init__`` wants arguments.
    """
    try:
        return kind()
    except TypeError as error:
        raise LearnerError(
            f"{kind.__name__}() could not be made: {error}.",
            do="let __init__ take no arguments; what a node needs to know comes from ctx in on_start",
        ) from error


def handlers_of(kind: type[Node]) -> dict[str, Callable]:
    """The handlers of a node class by the wire type of their message.

    Raises:
        LearnerError: a handler is named after no known message, so that it would never be called.
    """
    if not (isinstance(kind, type) and issubclass(kind, Node)):
        raise LearnerError(f"{kind!r} is not a Node class.", do="write `class YourNode(Node):` and pass YourNode")
    if (told := getattr(kind, "__handlers__", None)) is not None:
        return told()  # a stand-in for a node that lives in another process, where its names were looked at
    found: dict[str, Callable] = {}
    for name in sorted(dir(kind)):
        if name.startswith("on_") and name not in _OWN and callable(getattr(kind, name)):
            wire_type = name.removeprefix("on_")
            if wire_type not in KNOWN:
                raise LearnerError(
                    f"{kind.__name__}.{name} would never be called: there is no message of the type {wire_type!r}.",
                    cause=close_to(wire_type, KNOWN) or "its @message class is missing, or its cell has not been run",
                    do="name a handler on_ and the message's name in lower case with underscores",
                )
            found[wire_type] = getattr(kind, name)
    return found


def no_handler(kind: type[Node], name: str, sender: str, received: Message) -> LearnerError:
    """What to say when a message arrives that the node has no handler for."""
    wanted = f"on_{type(received).wire_type}"
    there = [name for name in dir(kind) if name.startswith("on_") and name not in _OWN]
    return LearnerError(
        f"{name} received {received!r} from {sender}, and {kind.__name__} has no handler for it.",
        cause=close_to(wanted, there) or f"{kind.__name__} has {', '.join(there) or 'no handler of a message'}",
        do=f"add `def {wanted}(self, message, sender, ctx):`",
    )


def no_timer_handler(kind: type[Node], name: str, timer: str) -> LearnerError:
    """What to say when a node sets a timer and could not hear it."""
    return LearnerError(
        f"{name} set the timer {timer!r}, and {kind.__name__} has no on_timer.",
        do="add `def on_timer(self, name, ctx):`, which is called when a timer goes off",
    )


def unknown_timer(name: str, timer: str, there: Iterable[str]) -> LearnerError | None:
    """What to say when a timer is cancelled that nobody ever set; None if the name is not a likely slip.

    Cancelling a timer that happens not to run is good style, so only a name that resembles another one is refused.
    """
    near = _near_timer(timer, frozenset(there))
    if not near or _letters(near) == _letters(timer):
        return None
    return LearnerError(
        f"{name} cancelled the timer {timer!r}, and no timer of that name was ever set.",
        cause=f"a slip of the pen: there is a timer {near!r}",
        do=f"write ctx.cancel_timer({near!r}), or give the two timers names that differ more",
    )


@functools.lru_cache(maxsize=1000)
def _near_timer(timer: str, there: frozenset[str]) -> str:
    return next(iter(difflib.get_close_matches(timer, sorted(there), n=1, cutoff=0.8)), "")


def check_duration(name: str, call: str, seconds: Any) -> None:
    """Refuse what is no time span.

    Raises:
        LearnerError: see `bad_duration`.
    """
    try:
        if 0 <= seconds < float("inf"):
            return
    except TypeError:
        pass
    raise bad_duration(name, call, seconds)


def bad_duration(name: str, call: str, seconds: Any) -> LearnerError:
    """What to say to a time span that is none."""
    return LearnerError(
        f"{name} called ctx.{call} with {seconds!r} seconds.", do="give a number of seconds that is zero or more"
    )


def unknown_node(name: str, dest: Any, there: Iterable[str]) -> LearnerError:
    """What to say when a message is sent to a node that does not exist."""
    names = list(there)
    return LearnerError(
        f"{name} sent a message to {dest!r}, and there is no node of that name.",
        cause=close_to(str(dest), names) or f"the nodes are {', '.join(names)}",
        do="send to a name from ctx.peers, to the sender of a message, or to ctx.me",
    )


def lost_answer(kind: type[Node], handler: str, answer: Any) -> LearnerError:
    """What to say when a handler returns a message."""
    return LearnerError(
        f"{kind.__name__}.{handler} returned {answer!r}, and nobody receives what a handler returns.",
        do="write ctx.reply(message, ...) to answer, or ctx.send(dest, ...)",
    )


def foreign_await(handler: str, awaited: str) -> LearnerError:
    """What to say when a handler awaits something that is not ours."""
    return LearnerError(
        f"{handler} awaits {awaited}, which waits for the real world.",
        cause="a node runs in virtual time and as a real process, so it can only await what its context offers",
        do="await ctx.sleep(seconds) instead of asyncio.sleep, await ctx.rpc(dest, message) for an answer, "
        "ctx.spawn(...) instead of asyncio.create_task or asyncio.gather",
    )


def close_to(word: str, there: Iterable[str]) -> str:
    """A guess which of the known words was meant, as a sentence part; "" without one."""
    near = difflib.get_close_matches(word, sorted(there), n=1)
    return f"a slip of the pen for {near[0]!r}" if near else ""


def _letters(word: str) -> str:
    return "".join(letter for letter in word if not letter.isdigit())


def _check_arguments(cls: type, name: str, handler: Callable) -> None:
    wanted = _OWN.get(name, _ON_MESSAGE)
    try:
        inspect.signature(handler).bind("self", *wanted)
    except TypeError:
        raise LearnerError(
            f"{cls.__name__}.{name}{inspect.signature(handler)} does not take the arguments it will be given.",
            do=f"write `def {name}(self, {', '.join(wanted)}):`",
        ) from None
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise LearnerError(f"{cls.__name__}.{name} contains `yield`.", do="use `await ctx.rpc(...)` in an `async def`")
