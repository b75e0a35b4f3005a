"""The simulated world: one seed, virtual time, every fault; the same seed gives the same run in any process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from random import Random
from typing import Any

from labsupport import node as contract
from labsupport.faults import Faults, Link
from labsupport.messages import Error, Message, not_a_message
from labsupport.nemesis import Nemesis
from labsupport.node import Node
from labsupport.sim import guard
from labsupport.sim.core import SECOND, Core, CrashNow, Host, Nobody, Wait
from labsupport.sim.failures import exception_violation, failure
from labsupport.sim.links import CALM_MS, Directed, Queue
from labsupport.sim.properties import Property, Violated
from labsupport.watchdog import Endless

_NEVER = 1 << 62
_new = object.__new__
MOST_EVENTS = 1_000_000  # a run that is longer than this has most likely a storm of messages in it


class World(Core):
    """A cluster of nodes in virtual time.

    Args:
        kind: the Node class, or one class for each name.
        nodes: how many; they are called n1, n2, ...
        seed: what all chance is drawn from.
        faults: what goes wrong.
        clients: further Node classes by name, which crash and partition do not touch; their context is a
            `labsupport.sim.core.ClientContext`.
        properties: classes (or functions that make objects) of `Property`, checked while the world runs.
        record: whether there is a trace; a search leaves it out and makes the run again when it has found something.

    Raises:
        LearnerError: the node class does not keep the contract.

    >>> world = World(Ponger, nodes=2, seed=7)  # doctest: +SKIP
    >>> world.run(until_s=10)                   # doctest: +SKIP
    """

    def __init__(
        self,
        kind: type[Node] | Mapping[str, type[Node]],
        *,
        nodes: int = 3,
        seed: int = 0,
        faults: Faults | None = None,
        clients: Mapping[str, type[Node]] | None = None,
        properties: Iterable[Callable[[], Property]] = (),
        record: bool = True,
    ) -> None:
        super().__init__(kind, nodes, clients or {}, seed, properties)
        if not record:
            self._recording, self._log = False, deque(maxlen=0).append
        self.faults = faults or Faults()
        self._heap: list[tuple] = []
        # What happens first of what happens at one time, so that the heap never compares what its entries carry.
        # Messages have their numbers there, all else comes before them.
        self._turn = -_NEVER
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._watch_saves = self.faults.crash_at_save > 0
        self.calmed_after: int | None = None  # so many records
        self.nemesis = Nemesis(self, self.faults)
        for host in self.hosts.values():
            self._at(0, self._first_start, host, None)
        self.nemesis.begin()

    # -------------------------------------------------------------------------------------------- running

    def run(self, until_s: float | None = None, *, max_events: int = MOST_EVENTS) -> Violated | None:
        """Let time pass until nothing more is to happen, until a time, or until a property is violated.

        Args:
            until_s: the world's time at which to stop; None means only when nothing is left to do.
            max_events: stop after so many events (messages delivered, timers, crashes ...).

        Returns:
            The violation that ended the run; None if there was none.

        Raises:
            RunFailed: a handler raised an exception.
        """
        self.advance(until_s, max_events)
        if self.violation is not None and self.violation.error is not None:
            raise failure(self, self.violation)
        return self.violation

    def advance(self, until_s: float | None = None, max_events: int = MOST_EVENTS) -> Violated | None:
        """The same as `run`, but an exception in a handler is returned as a violation."""
        until = _NEVER if until_s is None else int(until_s * SECOND)
        before, limit = self.now_us, self.events + max_events
        self._spawned = []
        with guard.watching(self.hosts.values()):
            while self.violation is None and self._heap and self.events < limit:
                try:
                    if self._loop(until, limit):
                        break
                except CrashNow:
                    self.events += 1
                except Violated as violated:
                    self._end(violated)
                except (Exception, Endless) as error:
                    self._end(exception_violation(self, error))
        self._spawned = Nobody()
        if until_s is not None and self.violation is None and self.events < limit:
            self.now_us = max(before, until)
        return self.violation

    @guard.driver
    def _loop(self, until: int, limit: int) -> bool:
        """Run events until the time or the limit is reached (True), or something is raised."""
        heap, watching, events, host = self._heap, self._watching, self.events, None
        try:
            while heap:
                now, _, act, host, thing = entry = heappop(heap)
                if now > until:
                    heappush(heap, entry)
                    return True
                self.now_us = now
                if act(host, thing):
                    events += 1
                    if watching:
                        self._watch(host)
                    if events >= limit:
                        return True
        finally:
            self.events, self._acting = events, host or self._acting
        return True

    def _watch(self, host: Host | None) -> None:
        for one in self._watching if host is not None else ():
            complaint = one.after(self, host.name, host.node)
            if complaint:
                raise Violated(one.name, complaint)

    def discard(self) -> None:
        super().discard()
        self._heap.clear()
        self.nemesis = None  # now nothing refers to itself, and the memory can be used again while it is still hot

    def finish(self) -> Violated | None:
        """Ask the properties for what they say at the end of a run."""
        for one in self.properties:
            if self.violation is None:
                complaint = one.at_end(self)
                if complaint:
                    self._end(Violated(one.name, complaint))
        return self.violation

    # -------------------------------------------------------------------------------------------- events

    def _at(self, when: int, act: Callable, host: Host | None, thing: Any) -> None:
        self._turn = turn = self._turn + 1
        heappush(self._heap, (when, turn, act, host, thing))

    def _first_start(self, host: Host, _: None) -> int:
        self._start(host)
        return 1

    # The next five are the hot path. They do what `Core` does in separate steps, because calls are what costs; and what
    # is sent is copied at once into what will arrive, since here it arrives once.

    def _send(self, host, dest, message, msg_id=None, in_reply_to=None):
        try:
            sent = message._sent(host.name, msg_id, in_reply_to)
        except (AttributeError, TypeError):
            if not isinstance(message, Message):
                raise not_a_message(message) from None
            raise
        link = host.links.get(dest) or self._link(host, dest)
        self._number = number = self._number + 1
        host.sent += 1
        if self._recording:
            sent._envelope = (number, host.name, dest, type(message), message._pack(), msg_id, in_reply_to)
            self._log((self.now_us, "send", host.name, sent._envelope))
        draw = link.draw
        if link.odd:
            chance = draw()
            if chance < link.odd:
                if chance < link.loss:
                    self._lose(link.target, sent, "lost on the way")
                    return
                self._repeat(link, sent)
        delay = link.base + int(draw() * link.more) if link.slow is None else link.slow()
        heappush(self._heap, (self.now_us + delay, number, link.arrive, link.target, sent))

    def _lose(self, host: Host, sent: Message, why: str) -> None:
        if self._recording:
            self._log((self.now_us, "lose", host.name, (sent._envelope, why)))

    def _repeat(self, link: Directed, sent: Message) -> None:
        """Let a message arrive once more."""
        again = sent._sent(sent._sender, sent._msg_id, sent._answers)
        if self._recording:
            again._envelope = sent._envelope
        self._at(self.now_us + link.delay(), link.arrive, link.target, again)

    def _call(self, host, dest, message, timeout_s):
        host.token = token = host.token + 1
        self._send(host, dest, message, token)
        # Nearly all requests are answered, and those of one time limit are given up in the order in which they were
        # made. So they stand in a queue, and the heap holds only the foremost of each queue.
        queue = host.queues.get(timeout_s) or self._queue(host, timeout_s)
        wait = host.waits[token] = _new(Wait)  # its __init__ would take as long as all of this
        wait.token, wait.dest, wait.what = token, dest, message.wire_type
        wait.seconds, wait.due = timeout_s, self.now_us + queue.span
        if not queue.waits:
            self._at(wait.due, self._foremost_due, host, queue)
        queue.waits.append(wait)
        return wait

    def _queue(self, host: Host, timeout_s: float) -> Queue:
        queue = host.queues[timeout_s] = Queue(self._span(host, timeout_s, "rpc"))
        return queue

    def _foremost_due(self, host: Host, queue: Queue) -> int:
        waits = queue.waits
        foremost = waits.popleft()
        while waits and waits[0].token not in host.waits:
            waits.popleft()
        if waits:
            self._at(waits[0].due, self._foremost_due, host, queue)
        return self._wait_due(host, foremost)

    def _arrive(self, host: Host, message: Message) -> int:
        sender = message._sender
        if sender in host.cut_off or not host.hears:
            return self._hold_back(host, message)
        if self._recording:
            self._log((self.now_us, "deliver", host.name, message._envelope))
        kind = type(message)
        if message._answers is not None:
            wait = host.waits.pop(message._answers, None)
            if wait is not None:
                if kind is Error:
                    self._answer(host, wait, message)
                else:
                    self._resume(host, wait.coro, message)
            return 1
        handler = host.handlers.get(kind) or self._find_handler(host, kind, message, sender)
        result = handler(message, sender, host.ctx)
        if result is not None or self._spawned:
            self._go_on(host, result, f"on_{kind.wire_type}")
        return 1

    def _hold_back(self, host: Host, message: Message) -> int:
        """Let a message that cannot come through now be lost, or wait for a paused node."""
        if message._sender in host.cut_off:
            self._lose(host, message, "partition")
        elif host.paused:
            host.backlog.append((self._arrive, host, message))
        else:
            self._lose(host, message, "receiver is down")
        return 0

    def _set_timer(self, host, name, seconds):
        if name not in host.timer_names:
            self._new_timer(host, name)
        # Election timers are set anew at each heartbeat. So the heap holds one entry per timer, the earliest; when that
        # comes up and the timer has been put off meanwhile, it goes back into the heap.
        try:
            due = self.now_us + int(seconds * SECOND / host.rate)
        except (TypeError, ValueError, OverflowError):
            raise contract.bad_duration(host.name, "set_timer", seconds) from None
        if due < self.now_us:
            raise contract.bad_duration(host.name, "set_timer", seconds)
        host.timers[name] = due
        if host.armed.get(name, _NEVER) > due:
            host.armed[name] = due
            self._turn = turn = self._turn + 1
            heappush(self._heap, (due, turn, self._timer_due, host, name))

    def _timer_due(self, host: Host, name: str) -> int:
        if host.armed.get(name) != self.now_us:
            return 0  # there is an earlier entry, or it is of an earlier life
        del host.armed[name]
        due = host.timers.get(name)
        if due is None:
            return 0
        if due > self.now_us:
            host.armed[name] = due
            self._at(due, self._timer_due, host, name)
            return 0
        if host.paused:
            host.backlog.append((self._timer_resumed, host, name))
            return 0
        return self._timer_resumed(host, name)

    def _timer_resumed(self, host: Host, name: str) -> int:
        """A timer goes off, unless it was cancelled or put off while its node stood still."""
        if host.timers.get(name, self.now_us + 1) > self.now_us:
            return 0
        del host.timers[name]
        self._fire(host, name)
        return 1

    def _after(self, host: Host, seconds: float, wait: Wait, call: str) -> None:
        self._at(self.now_us + self._span(host, seconds, call), self._wait_due, host, wait)

    def _wait_due(self, host: Host, wait: Wait) -> int:
        if host.paused:
            host.backlog.append((self._wait_due, host, wait))
        elif host.waits.pop(wait.token, None) is not None:
            self._expire(host, wait)
            return 1
        return 0

    def _span(self, host: Host, seconds: float, call: str) -> int:
        try:
            if seconds >= 0:
                return int(seconds * SECOND / host.rate)
        except (TypeError, ValueError, OverflowError):
            pass
        raise contract.bad_duration(host.name, call, seconds)

    def _make_link(self, host: Host, dest: Host) -> Directed:
        rule = self.faults.rule(host.name, dest.name, not (host.client or dest.client))
        return Directed(dest, self._arrive, rule, Random(f"{self.seed}/link/{host.name}/{dest.name}"))

    # -------------------------------------------------------------------------------------------- faults

    def crash(self, name: str, lose_disk: bool = False, at_save: str = "") -> None:
        """Let a node crash now; nothing happens if it is down."""
        host = self.hosts[name]
        if host.up:
            self._crash(host, lose_disk, at_save)

    def restart(self, name: str) -> None:
        """Start a crashed node again now; nothing happens if it is up."""
        host = self.hosts[name]
        if not host.up:
            self._acting = host
            self._start(host, "restart")

    def pause(self, name: str) -> None:
        """Let a node stand still from now on."""
        host = self.hosts[name]
        if host.up and not host.paused:
            host.paused, host.hears = True, False
            self._log((self.now_us, "pause", name, None))

    def resume(self, name: str) -> None:
        """Let a paused node go on; what has come for it meanwhile is handled at once, in order."""
        host = self.hosts[name]
        if host.paused:
            host.paused, host.hears = False, True
            self._log((self.now_us, "resume", name, None))
            backlog, host.backlog = host.backlog, []
            for act, target, thing in backlog:
                self._at(self.now_us, act, target, thing)

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """The ways that a partition stops now, each from the first to the second node."""
        return self._cut

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """From now on lose every message from the first to the second of each pair, also those under way."""
        self._cut = frozenset(pairs)
        self._spread_cut()
        self._log((self.now_us, "partition", "", tuple(sorted(self._cut))))

    def _spread_cut(self) -> None:
        for name, host in self.hosts.items():
            host.cut_off = frozenset(source for source, dest in self._cut if dest == name)

    def heal(self) -> None:
        """Let every message through again."""
        if self._cut:
            self._cut = frozenset()
            self._spread_cut()
            self._log((self.now_us, "heal", "", None))

    def calm(self) -> None:
        """No fault from now on: heal, restart, resume, and links that lose and repeat nothing."""
        self.calmed_after = len(self._records)
        self.nemesis.stop()
        self.heal()
        self._watch_saves = False
        for name, host in self.hosts.items():
            self.resume(name)
            for link in host.links.values():
                link.calm()
            if not host.up and not host.client:
                self._at(self.now_us, self._restart_due, host, None)
        self.faults = Faults(link=Link(delay_ms=CALM_MS), client_link=Link(delay_ms=1))
        for one in self.properties:
            one.calmed(self)

    def _restart_due(self, host: Host, _: None) -> int:
        if host.up:
            return 0
        self._start(host, "restart")
        return 1

    def _before_save(self, host: Host) -> None:
        self._maybe_crash(host, "before")

    def _after_save(self, host: Host) -> None:
        self._maybe_crash(host, "after")
        if not host.client and self.nemesis.strikes_save(self.faults.crash_at_save / 3):
            self.nemesis.crash_soon(host)  # what it goes on to send is sent, and then it forgets why

    def _maybe_crash(self, host: Host, side: str) -> None:
        if not host.client and self.nemesis.strikes_save(self.faults.crash_at_save / 3):
            self.nemesis.crash(host, side)
            raise CrashNow
