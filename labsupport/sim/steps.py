"""A world without time, led step by step: the same nodes, but whoever drives it chooses what happens next.

The exhaustive search tries every choice; the shrinker repeats the choices of a failed run, leaving some out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from labsupport import node as contract
from labsupport.node import Node
from labsupport.sim import guard
from labsupport.sim.chance import Chance, Drawn
from labsupport.sim.core import SECOND, Core, CrashNow, Host, Nobody, Wait
from labsupport.sim.failures import exception_violation
from labsupport.sim.properties import Property, Violated
from labsupport.watchdog import Endless

STEP_US = 1_000  # how much time a step seems to take, when nobody says


@dataclasses.dataclass(frozen=True)
class Step:
    """One choice, in terms that still mean something when other choices have been left out.

    Args:
        kind: "deliver", "lose", "timer", "timeout", "wake", "crash" or "restart".
        node: where.
        detail: deliver, lose: (sender, wire type, packed fields); timer: its name; timeout: (dest, wire type);
            crash: whether the disk is lost.
        at_us: the time at which it happened.
        save: let the node crash at one of the saves in this step: (which one, "before" or "after").
        again: deliver a message that has been delivered before.
        number: of the message that was delivered, in the run that this was taken from.
        first: the number of the first message that was sent in this step, in that run.
        drawn: what `Context.random` gave.
    """

    kind: str
    node: str
    detail: Any = None
    at_us: int | None = None
    save: tuple[int, str] | None = None
    again: bool = False
    number: int | None = None
    first: int | None = None
    drawn: Drawn = ()


class Steps(Core):
    """A cluster whose every event is chosen; arguments as for `labsupport.sim.world.World`."""

    _Random = Chance

    def __init__(
        self,
        kind: type[Node] | Mapping[str, type[Node]],
        nodes: int,
        clients: Mapping[str, type[Node]],
        seed: int,
        properties: Iterable[Callable[[], Property]],
    ) -> None:
        super().__init__(kind, nodes, clients, seed, properties)
        self.pending: dict[int, tuple] = {}  # under way, by number, oldest first
        self.delivered: dict[int, tuple] = {}
        self.drawn: list[Drawn] = []  # in each step so far
        self._meant: dict[int, int] = {}  # which message a number in the steps stands for
        self._saves_left, self._save_side = 0, ""
        for host in self.hosts.values():
            if self.violation is None:
                self._guarded(host, lambda host=host: self._start(host))

    # -------------------------------------------------------------------------------------------- leading it

    def do(self, step: Step) -> bool:
        """Carry out a step; False if it is not possible now. A violation ends up in `violation`."""
        host = self.hosts.get(step.node)
        act = self._prepared(host, step) if host is not None else None
        if act is None:
            return False
        self.now_us = max(self.now_us, step.at_us) if step.at_us is not None else self.now_us + STEP_US
        if step.save:
            self._saves_left, self._save_side = step.save
        self.events += 1
        host.random.give(step.drawn)
        before = self._number
        self._guarded(host, act)
        self.drawn.append(tuple(host.random.drawn))
        if step.first is not None:
            sent = range(before + 1, self._number + 1)
            self._meant.update(zip(range(step.first, step.first + len(sent)), sent, strict=True))
        self._saves_left = 0
        return True

    def _prepared(self, host: Host, step: Step) -> Callable[[], Any] | None:
        if step.kind == "restart":
            return None if host.up else lambda: self._start(host, "restart")
        if step.kind == "lose":
            envelope = self._fitting(host, step)
            return None if envelope is None else lambda: self._lose(host, envelope)
        if not host.up:
            return None
        if step.kind == "deliver":
            envelope = self._fitting(host, step)
            return None if envelope is None else lambda: self._hand_over(host, envelope)
        if step.kind == "timer":
            return (lambda: self._ring(host, step.detail)) if step.detail in host.timers else None
        if step.kind in ("timeout", "wake"):
            wait = self._waiting(host, *(step.detail or ("", "")))
            return None if wait is None else lambda: self._give_up(host, wait)
        return lambda: self._crash(host, bool(step.detail))

    @guard.driver
    def _guarded(self, host: Host, act: Callable[[], Any]) -> None:
        self._acting, self._spawned = host, []
        try:
            act()
            for one in self._watching:
                complaint = one.after(self, host.name, host.node)
                if complaint:
                    raise Violated(one.name, complaint)
        except CrashNow:
            pass
        except Violated as violated:
            self._end(violated)
        except Endless as endless:  # not a violation: nobody wants to repeat and shrink what takes seconds each time
            raise exception_violation(self, endless).error from endless
        except Exception as error:
            self._end(exception_violation(self, error))
        self._spawned = Nobody()

    def _hand_over(self, host: Host, envelope: tuple) -> None:
        if self.pending.pop(envelope[0], None) is not None:
            self.delivered[envelope[0]] = envelope
        self._deliver(host, envelope)

    def _lose(self, host: Host, envelope: tuple) -> None:
        del self.pending[envelope[0]]
        self._log((self.now_us, "lose", host.name, (envelope, "dropped")))

    def _ring(self, host: Host, name: str) -> None:
        del host.timers[name]
        self._fire(host, name)

    def _give_up(self, host: Host, wait: Wait) -> None:
        del host.waits[wait.token]
        self._expire(host, wait)

    # -------------------------------------------------------------------------------------------- finding what is meant

    def _fitting(self, host: Host, step: Step) -> tuple | None:
        """The message that a step means.

        It is the one that the same step has sent as in the run that this is taken from, even if it says something else
        now; or one with the same content; or the newest of its kind on that way; or such an answer from somebody else.
        """
        source, wire_type, parts = step.detail
        newest, answer, there = None, None, self.delivered if step.again else self.pending
        meant = self._meant.get(step.number)
        same = there.get(meant or step.number)
        if same and same[1:3] == (source, host.name) and same[3].wire_type == wire_type and (meant or same[4] == parts):
            return same
        for envelope in reversed(there.values()):
            if envelope[2] == host.name and envelope[3].wire_type == wire_type:
                awaited = envelope[6] in host.waits
                if envelope[1] != source:
                    answer = answer or (envelope if awaited else None)
                elif envelope[4] == parts and (envelope[6] is None or awaited):
                    return envelope
                else:
                    newest = newest or envelope
        return newest or answer

    @staticmethod
    def _waiting(host: Host, dest: str, what: str) -> Wait | None:
        for wait in host.waits.values():
            if wait.dest == dest and (wait.what == what or not dest):
                return wait
        return None

    # -------------------------------------------------------------------------------------------- what a world decides

    def _make_link(self, host: Host, dest: Host) -> Host:
        return dest

    def _transmit(self, link: Host, envelope: tuple) -> None:
        self.pending[envelope[0]] = envelope

    def _arm(self, host: Host, name: str, seconds: float) -> None:
        contract.check_duration(host.name, "set_timer", seconds)
        host.timers[name] = self.now_us + int(seconds * SECOND)

    def _after(self, host: Host, seconds: float, wait: Wait, call: str) -> None:
        contract.check_duration(host.name, call, seconds)

    def _before_save(self, host: Host) -> None:
        self._maybe_crash(host, "before")

    def _after_save(self, host: Host) -> None:
        self._maybe_crash(host, "after")
        if self._saves_left:
            self._saves_left -= 1

    def _maybe_crash(self, host: Host, side: str) -> None:
        if self._saves_left == 1 and self._save_side == side:
            self._saves_left = 0
            self._crash(host, at_save=side)
            raise CrashNow


def is_step(kind: str, detail: Any) -> bool:
    """Whether a record is of a choice; a crash at a save is part of the step before it."""
    if kind == "crash":
        return not detail or "save" not in detail
    return kind in ("deliver", "timer", "timeout", "wake", "restart")


def steps_of(records: Iterable[tuple], drawn: Sequence[Drawn] = ()) -> list[Step]:
    """The choices that a world's records show, to be repeated by a `Steps`, with what was drawn in each if known."""
    found: list[Step] = []
    delivered: set[int] = set()
    saves = 0
    for at, kind, node, detail in records:
        if kind == "save":
            saves += 1
        elif kind == "send" and found and found[-1].first is None:
            found[-1] = dataclasses.replace(found[-1], first=detail[0])
        elif kind == "crash" and not is_step(kind, detail) and found and found[-1].node == node:
            side = "before" if "before" in detail else "after"
            found[-1] = dataclasses.replace(found[-1], save=(saves + (side == "before"), side))
        elif kind == "deliver":
            content = (detail[1], detail[3].wire_type, detail[4])
            found.append(Step(kind, node, content, at, again=detail[0] in delivered, number=detail[0]))
            delivered.add(detail[0])
        elif is_step(kind, detail):
            told = bool(detail and "disk" in detail) if kind == "crash" else detail
            found.append(Step(kind, node, told, at))
        if is_step(kind, detail):
            saves = 0
    if drawn:
        found = [dataclasses.replace(step, drawn=numbers) for step, numbers in zip(found, drawn, strict=True)]
    return found
