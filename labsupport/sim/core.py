"""What the timed world and the stepped world have in common: nodes that live, hear, speak, wait and crash.

A world decides *when* something happens; everything about *what* then happens is here. ``async`` handlers run on a
small trampoline of our own: a coroutine hands out a `Wait` and is sent the answer. That costs a seventh more than plain
functions, where a virtual-clock asyncio loop costs five times as much.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Coroutine, Iterable, Mapping
from random import Random
from typing import Any

from labsupport import node as contract
from labsupport.messages import WHOLE, Error, Message, RequestFailed, not_a_message, plain
from labsupport.node import Node
from labsupport.sim import guard
from labsupport.sim.host import SECOND, ClientContext, CrashNow, Host, Nobody, Nowhere, SimContext, Wait
from labsupport.sim.properties import Property, Violated
from labsupport.trace import Trace

_handlers_of = functools.lru_cache(maxsize=100)(contract.handlers_of)  # a tenth of an exhaustive search


def _hearing(properties: list[Property]) -> dict[str, list[Property]]:
    """Who wants to hear what."""
    found: dict[str, list[Property]] = {}
    for one in properties:
        for what in one.hears:
            found.setdefault(what, []).append(one)
    return found


def _list_copy(old: Any, value: list) -> list:
    """A plain copy of a list that is to be saved where `old` was saved before.

    Logs are saved again and again with a few entries more. What has equal content is not copied again; that made up a
    fifth of a Raft's run.
    """
    same = len(old) if type(old) is list else 0
    if same and value[:same] == old:
        return old + plain(value[same:])
    return plain(value)


@functools.lru_cache(maxsize=1000, typed=True)  # one event in seven of a Raft under partitions is such a timeout
def _unanswered(dest: str, what: str, seconds: float) -> str:
    return f"{dest} did not answer {what} within {seconds} s"


class Core:
    """Nodes, their clients, and what they do; see `labsupport.sim.world.World` for the arguments."""

    _Random = Random  # what a node draws from

    def __init__(
        self,
        kind: type[Node] | Mapping[str, type[Node]],
        nodes: int,
        clients: Mapping[str, type[Node]],
        seed: int,
        properties: Iterable[Callable[[], Property]],
    ) -> None:
        kinds = kind if isinstance(kind, Mapping) else {f"n{number}": kind for number in range(1, nodes + 1)}
        self.seed, self.now_us, self.events = seed, 0, 0
        self.properties = [make() for make in properties]
        self.violation: Violated | None = None
        self._hearing = _hearing(self.properties)
        self._watching = [one for one in self.properties if type(one).after is not Property.after]
        self._records: list[tuple] = []
        self._log = self._records.append
        self._spawned: list[Coroutine] = []
        self._number = self._operations = 0
        self._recording = self._watch_saves = True
        self._leader: Host | None = None
        self._acting: Host | None = None
        self.hosts = self._make_hosts(kinds, clients)

    # -------------------------------------------------------------------------------------------- looking at it

    @property
    def nodes(self) -> dict[str, Node | None]:
        """The learner's objects by name; None while a node is down."""
        return {name: host.node for name, host in self.hosts.items() if not host.client}

    def __getitem__(self, name: str) -> Node | None:
        return self.hosts[name].node

    @property
    def now_s(self) -> float:
        """The world's time in seconds."""
        return self.now_us / SECOND

    @property
    def trace(self) -> Trace:
        """Everything that has happened so far."""
        return Trace(self.hosts, self._records, self.seed)

    # -------------------------------------------------------------------------------------------- living and dying

    def _make_hosts(self, kinds: Mapping[str, type[Node]], clients: Mapping[str, type[Node]]) -> dict[str, Host]:
        names = tuple(kinds)
        hosts = {}
        for name, kind in {**kinds, **clients}.items():
            host = hosts[name] = Host(name, kind, _handlers_of(kind), name in clients)
            host.random = self._Random(f"{self.seed}/node/{name}")
            host.peers = tuple(other for other in names if other != name)
        return hosts

    def _start(self, host: Host, how: str = "start") -> None:
        self._log((self.now_us, how, host.name, None))
        host.forget()
        host.up, host.hears, self._spawned = True, True, []
        host.ctx = self._make_context(host)
        host.node = contract.made(host.kind)
        host.on_timer = getattr(host.node, "on_timer", None)
        result = host.node.on_start(host.ctx)
        if result is not None or self._spawned:
            self._go_on(host, result, "on_start")

    def _crash(self, host: Host, lose_disk: bool = False, at_save: str = "") -> None:
        told = [f"right {at_save} a save"] if at_save else []
        told += ["and loses its disk"] if lose_disk else []
        self._log((self.now_us, "crash", host.name, " ".join(told) or None))
        self._silence(host)
        host.up = host.hears = host.paused = False
        host.forget()
        if lose_disk:
            host.disk = {}

    def _silence(self, host: Host) -> None:
        """Make sure that nothing of a node's life goes on, not even the `finally` of a suspended coroutine."""
        if host.ctx is not None:
            host.ctx._world = Nowhere()
        spawned, self._spawned = self._spawned, type(self._spawned)()
        for coro in [*(wait.coro for wait in host.waits.values()), *spawned]:
            try:
                coro.close()
            except (Exception, CrashNow):
                continue  # its node is gone; nobody is there to be told

    def _end(self, violated: Violated) -> None:
        """Something is wrong: the run ends here."""
        self.violation = violated
        if isinstance(violated.error, guard.Unending) and not self._recording:
            raise violated.error  # a search does not go on to repeat and shrink what takes seconds each time
        spawned, self._spawned = self._spawned, Nobody()
        for coro in spawned:
            coro.close()
        where = self._acting.name if self._acting is not None else ""
        self._log((self.now_us, "error" if violated.error else "violation", where, violated.sentence))

    def discard(self) -> None:
        """Let go of all nodes, so that the memory of a finished world is free at once."""
        for host in self.hosts.values():
            self._silence(host)
            host.forget()
            host.links, host.queues = {}, {}
        self._log, self._records, self._hearing, self._watching, self._leader = None, [], {}, [], None

    # -------------------------------------------------------------------------------------------- hearing

    def _deliver(self, host: Host, envelope: tuple) -> int:
        _, source, dest, kind, parts, msg_id, in_reply_to = envelope
        self._log((self.now_us, "deliver", dest, envelope))
        message = kind._unpack(parts, source, msg_id)
        if in_reply_to is not None:
            wait = host.waits.pop(in_reply_to, None)
            if wait is not None:  # else it comes too late: the request was given up, or belongs to an earlier life
                self._answer(host, wait, message)
            return 1
        handler = host.handlers.get(kind) or self._find_handler(host, kind, message, source)
        result = handler(message, source, host.ctx)
        if result is not None or self._spawned:
            self._go_on(host, result, f"on_{kind.wire_type}")
        return 1

    def _answer(self, host: Host, wait: Wait, message: Message) -> None:
        """Go on where a request was awaited."""
        if type(message) is Error:
            self._resume(host, wait.coro, None, RequestFailed(message.code, message.text))
        else:
            self._resume(host, wait.coro, message)

    def _find_handler(self, host: Host, kind: type[Message], message: Message, source: str) -> Callable:
        if kind.wire_type not in host.table:
            host.table = contract.handlers_of(host.kind)  # the class may have got more handlers since
        if kind.wire_type not in host.table:
            raise contract.no_handler(host.kind, host.name, source, message)
        handler = host.handlers[kind] = getattr(host.node, f"on_{kind.wire_type}")
        return handler

    def _fire(self, host: Host, name: str) -> None:
        self._log((self.now_us, "timer", host.name, name))
        result = host.on_timer(name, host.ctx)
        if result is not None or self._spawned:
            self._go_on(host, result, "on_timer")

    def _expire(self, host: Host, wait: Wait) -> None:
        """A sleep is over, or nobody answered in time."""
        if not wait.dest:
            self._log((self.now_us, "wake", host.name, None))
            self._resume(host, wait.coro)
            return
        self._log((self.now_us, "timeout", host.name, (wait.dest, wait.what)))
        self._resume(host, wait.coro, None, TimeoutError(_unanswered(wait.dest, wait.what, wait.seconds)))

    # -------------------------------------------------------------------------------------------- coroutines

    def _go_on(self, host: Host, result: Any, handler: str) -> None:
        """Begin the coroutine that a handler has returned, and those that it spawned."""
        if type(result) is types.CoroutineType:
            self._resume(host, result)
        elif isinstance(result, Message):
            raise contract.lost_answer(host.kind, handler, result)
        while self._spawned:
            self._resume(host, self._spawned.pop(0))

    def _resume(self, host: Host, coro: Coroutine, value: Any = None, error: Exception | None = None) -> None:
        try:
            wait = coro.send(value) if error is None else coro.throw(error)
        except StopIteration:
            pass
        else:
            if type(wait) is not Wait:
                awaited = f"{type(wait).__module__}.{type(wait).__qualname__}"
                raise contract.foreign_await(coro.__qualname__, awaited)
            wait.coro = coro
        if self._spawned:
            self._go_on(host, None, "")

    def _call(self, host: Host, dest: str, message: Message, timeout_s: float) -> Wait:
        host.token = token = host.token + 1
        self._send(host, dest, message, token)
        wait = host.waits[token] = Wait(token, dest, message.wire_type, timeout_s)
        self._after(host, timeout_s, wait, "rpc")
        return wait

    def _nap(self, host: Host, seconds: float) -> Wait:
        host.token = token = host.token + 1
        wait = host.waits[token] = Wait(token, "", "", seconds)
        self._after(host, seconds, wait, "sleep")
        return wait

    # -------------------------------------------------------------------------------------------- speaking

    def _send(
        self, host: Host, dest: str, message: Message, msg_id: int | None = None, in_reply_to: int | None = None
    ) -> None:
        try:
            parts = message._pack()
        except (AttributeError, TypeError):
            if not isinstance(message, Message):
                raise not_a_message(message) from None
            raise
        link = host.links.get(dest) or self._link(host, dest)
        self._number = number = self._number + 1
        host.sent += 1
        envelope = (number, host.name, dest, type(message), parts, msg_id, in_reply_to)
        self._log((self.now_us, "send", host.name, envelope))
        self._transmit(link, envelope)

    def _link(self, host: Host, dest: str) -> Any:
        """The link to a node, made when it is first used."""
        if not isinstance(dest, str) or dest not in self.hosts:
            raise contract.unknown_node(host.name, dest, self.hosts)
        link = host.links[dest] = self._make_link(host, self.hosts[dest])
        return link

    def _set_timer(self, host: Host, name: str, seconds: float) -> None:
        if name not in host.timer_names:
            self._new_timer(host, name)
        self._arm(host, name, seconds)

    def _new_timer(self, host: Host, name: str) -> None:
        if host.on_timer is None:
            raise contract.no_timer_handler(host.kind, host.name, name)
        host.timer_names.add(name)

    def _cancelled(self, host: Host, name: str) -> None:
        """A timer was cancelled that was not running: fine, unless its name is a slip."""
        if name not in host.timer_names:
            names = {name for other in self.hosts.values() for name in other.timer_names}
            slip = None if name in names else contract.unknown_timer(host.name, name, names)
            if slip:
                raise slip

    def _save(self, host: Host, values: dict[str, Any]) -> None:
        for name, value in values.items():
            kind = type(value)
            if kind is list:
                values[name] = _list_copy(host.disk.get(name), value)
            elif kind not in WHOLE:
                values[name] = plain(value)
        if self._watch_saves:
            self._before_save(host)
        host.disk.update(values)
        if self._recording:
            self._log((self.now_us, "save", host.name, values))
        if self._watch_saves:
            self._after_save(host)

    def _note(self, host: Host, what: str, facts: dict[str, Any]) -> None:
        for value in facts.values():
            if type(value) not in WHOLE:
                facts = {name: plain(value) for name, value in facts.items()}
                break
        if self._recording:
            self._log((self.now_us, "note", host.name, (what, facts)))
        if what == "leader":
            self._leader = host
        for one in self._hearing.get(what, ()):
            complaint = one.heard(self, host.name, what, facts)
            if complaint:
                raise Violated(one.name, complaint)

    def _called(self, host: Host, kind: str, key: Any, value: Any) -> int:
        self._operations += 1
        number = self._operations
        self._log((self.now_us, "call", host.name, (number, kind, key, value)))
        self._tell(host, "call", {"number": number, "kind": kind, "key": key, "value": value})
        return number

    def _ended(self, host: Host, number: int, result: Any, ending: str) -> None:
        self._log((self.now_us, "return", host.name, (number, result, ending)))
        if "return" in self._hearing:
            self._tell(host, "return", {"number": number, "result": result, "ending": ending})

    def _tell(self, host: Host, what: str, facts: dict[str, Any]) -> None:
        for one in self._hearing.get(what, ()):
            complaint = one.heard(self, host.name, what, facts)
            if complaint:
                raise Violated(one.name, complaint)

    # -------------------------------------------------------------------------------------------- up to each world

    def _make_context(self, host: Host) -> SimContext:
        return (ClientContext if host.client else SimContext)(self, host)

    def _make_link(self, host: Host, dest: Host) -> Any:
        raise NotImplementedError

    def _transmit(self, link: Any, envelope: tuple) -> None:
        raise NotImplementedError

    def _arm(self, host: Host, name: str, seconds: float) -> None:
        raise NotImplementedError

    def _after(self, host: Host, seconds: float, wait: Wait, call: str) -> None:
        raise NotImplementedError

    def _before_save(self, host: Host) -> None:
        """May raise `CrashNow`."""

    def _after_save(self, host: Host) -> None:
        """May raise `CrashNow`."""
