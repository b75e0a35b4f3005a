"""Where a node lives in a simulated world, and the context through which it acts there."""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from labsupport.errors import LearnerError
from labsupport.messages import copied, plain, sender_of
from labsupport.node import Context, Node

if TYPE_CHECKING:
    from labsupport.sim.core import Core

SECOND = 1_000_000  # time is counted in whole microseconds, so that sums are exact on every machine


class CrashNow(BaseException):
    """Unwinds a handler whose node has just crashed; not an Exception, so that learners' code lets it pass."""


class Wait:
    """What a suspended coroutine waits for: the answer to a request, or the end of a sleep."""

    __slots__ = ("coro", "dest", "due", "seconds", "token", "what")

    def __init__(self, token: int, dest: str, what: str, seconds: float, due: int = 0) -> None:
        self.token, self.dest, self.what, self.seconds, self.due = token, dest, what, seconds, due
        self.coro: Coroutine | None = None  # is set when it is handed over


class Host:
    """The place where one node runs: it stays when the node crashes, and so does its disk."""

    __slots__ = (
        "armed",
        "backlog",
        "client",
        "ctx",
        "cut_off",
        "disk",
        "handlers",
        "hears",
        "kind",
        "links",
        "name",
        "node",
        "offset",
        "on_timer",
        "paused",
        "peers",
        "queues",
        "random",
        "rate",
        "saw_clock",
        "sent",
        "table",
        "timer_names",
        "timers",
        "token",
        "up",
        "waits",
    )

    def __init__(self, name: str, kind: type[Node], table: dict[str, Callable], client: bool) -> None:
        self.name, self.kind, self.table, self.client = name, kind, table, client
        self.peers: tuple[str, ...] = ()
        self.random: random.Random | None = None
        self.links: dict[str, Any] = {}
        self.queues: dict[float, Any] = {}  # of requests, by time limit
        self.rate, self.offset = 1.0, 0.0
        self.cut_off: frozenset[str] = frozenset()  # whom a partition keeps from it
        self.begin()

    def begin(self) -> None:
        """Be as new: nothing has happened here."""
        self.disk: dict[str, Any] = {}
        self.timer_names: set[str] = set()  # looked up, never walked through in its own order
        self.token = self.sent = 0
        self.up = self.paused = False
        self.hears = False  # it is up and not paused
        self.saw_clock = False
        self.forget()

    def forget(self) -> None:
        """Lose everything that a crash loses."""
        self.node: Node | None = None
        self.ctx: SimContext | None = None
        self.on_timer: Callable | None = None
        self.handlers: dict[type, Callable] = {}
        self.timers: dict[str, int] = {}  # when each one is to go off
        self.armed: dict[str, int] = {}  # when the timed world looks at each one next
        self.waits: dict[int, Wait] = {}
        self.backlog: list[tuple] = []


class SimContext(Context):
    """The context of a node in a simulated world."""

    def __init__(self, world: Core, host: Host) -> None:
        self._world, self._host = world, host
        self.me, self.peers, self.random = host.name, host.peers, host.random

    def send(self, dest, message):
        self._world._send(self._host, dest, message)

    def reply(self, message, answer):
        try:
            sender, msg_id = message._sender, message._msg_id
        except AttributeError:
            sender, msg_id = sender_of(message)  # says what is wrong with it
        self._world._send(self._host, sender, answer, None, msg_id)

    @types.coroutine
    def rpc(self, dest, message, timeout_s=1.0):
        return (yield self._world._call(self._host, dest, message, timeout_s))

    @types.coroutine
    def sleep(self, seconds):
        yield self._world._nap(self._host, seconds)

    def spawn(self, coroutine):
        if not isinstance(coroutine, types.CoroutineType):
            raise LearnerError(
                f"ctx.spawn got {coroutine!r}.",
                do="give it a call of an `async def`, for example ctx.spawn(self.ask(peer, ctx))",
            )
        self._world._spawned.append(coroutine)

    def set_timer(self, name, seconds):
        self._world._set_timer(self._host, name, seconds)

    def cancel_timer(self, name):
        if self._host.timers.pop(name, None) is None:
            self._world._cancelled(self._host, name)

    def save(self, **values):
        self._world._save(self._host, values)

    def load(self, name, default=None):
        disk = self._host.disk
        return copied(disk[name]) if name in disk else default

    def now(self):
        host = self._host
        host.saw_clock = True
        return self._world.now_us / SECOND * host.rate + host.offset

    def note(self, what, **facts):
        self._world._note(self._host, what, facts)


class ClientContext(SimContext):
    """The context of a client: it also keeps the history of its operations."""

    def call(self, kind: str, key: Any = None, value: Any = None) -> int:
        """Record that an operation begins, before its request leaves; its number, for `returned` and the others."""
        return self._world._called(self._host, kind, plain(key), plain(value))

    def returned(self, number: int, result: Any = None) -> None:
        """Record that an operation took effect, with what its client was told."""
        self._world._ended(self._host, number, plain(result), "ok")

    def refused(self, number: int) -> None:
        """Record that an operation surely has no effect, now or later."""
        self._world._ended(self._host, number, None, "failed")

    def gave_up(self, number: int) -> None:
        """Record that nobody knows whether an operation takes effect."""
        self._world._ended(self._host, number, None, "unknown")


class Nobody(list):
    """Where spawned coroutines go that nobody will begin, such as those of a `finally` in a world that has ended."""

    def append(self, coroutine: Coroutine) -> None:
        coroutine.close()


class Nowhere:
    """The world of a context whose node has crashed: nothing that is left of it has any effect."""

    now_us, _spawned = 0, Nobody()

    def __getattr__(self, name: str) -> Callable:
        return _nothing


def _nothing(*ignored: Any) -> None:
    raise CrashNow
