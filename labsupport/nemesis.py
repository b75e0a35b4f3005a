"""Whoever makes things go wrong in a world: planned faults, and faults drawn at random.

The same for the simulation and for real processes. A world has ``seed``, ``now_s``, ``hosts`` (each with ``name``,
``up``, ``client`` and ``sent``), the acts ``crash restart pause resume cut heal calm``, and a calendar ``_at``.
"""

from __future__ import annotations

import random
from typing import Any

from labsupport.errors import LearnerError
from labsupport.faults import Crash, Faults, Partition, Pause, Skew

SECOND = 1_000_000  # a calendar counts in whole microseconds


class Nemesis:
    """Carries out the faults of one world, from a random stream of its own."""

    def __init__(self, world: Any, faults: Faults) -> None:
        self.world, self.faults = world, faults
        self.random = random.Random(f"{world.seed}/nemesis")
        self.targets = [host for host in world.hosts.values() if not host.client]
        self.stopped = False

    def begin(self) -> None:
        """Put every planned fault and the first random ones on the world's calendar."""
        for fault in self.faults.plan:
            self._plan(fault)
        if self.faults.skew:
            for host in self.targets:
                self._skew(host, 1 + self.random.uniform(-1, 1) * self.faults.skew, self.random.uniform(-1, 1))
        for rate, act in (
            (self.faults.crashes_per_s, self._random_crash),
            (self.faults.pauses_per_s, self._random_pause),
            (self.faults.partitions_per_s, self._random_partition),
        ):
            if rate:
                self._next(rate, act)
        if self.faults.until_s is not None:
            self._later(self.faults.until_s, lambda: self.world.calm())

    def stop(self) -> None:
        """No random fault from now on."""
        self.stopped = True

    def strikes_save(self, chance: float) -> bool:
        """Whether a node is to crash at this very save."""
        return not self.stopped and self.random.random() < chance

    def crash(self, host: Any, at_save: str = "") -> None:
        """Crash a node, and restart it after a while."""
        if host.up:
            lose_disk = bool(self.faults.lose_disk) and self.random.random() < self.faults.lose_disk
            self.world.crash(host.name, lose_disk, at_save)
            self._after_ms(self.faults.down_ms, lambda: self.world.restart(host.name))

    def crash_soon(self, host: Any) -> None:
        """Crash a node within the next few messages."""
        self._after_ms((0.0, 20.0), lambda: self.stopped or self.crash(host))

    # -------------------------------------------------------------------------------------------- planned

    def _plan(self, fault: Crash | Pause | Partition | Skew) -> None:
        world = self.world
        names = [fault.node] if not isinstance(fault, Partition) else [n for group in fault.groups for n in group]
        strange = sorted(set(names) - set(world.hosts) - {"leader"})
        if strange:
            raise LearnerError(
                f"The fault plan speaks of {', '.join(strange)}, and there is no such node.",
                do=f"use the names {', '.join(host.name for host in self.targets)}",
            )
        if isinstance(fault, Skew):
            self._skew(world.hosts[fault.node], fault.rate, fault.offset_s)
        elif isinstance(fault, Crash):
            self._later(fault.at_s, lambda: self._planned_crash(fault))
        elif isinstance(fault, Pause):
            self._later(fault.at_s, lambda: self._planned_pause(fault))
        else:
            self._later(fault.at_s, lambda: world.cut(fault.cuts(host.name for host in self.targets)))
            if fault.for_s is not None:
                self._later(fault.at_s + fault.for_s, world.heal)

    def _planned_crash(self, fault: Crash) -> None:
        name = self._struck(fault.node)
        self.world.crash(name, fault.lose_disk)
        if fault.restart_after_s is not None:
            self._later(self.world.now_s + fault.restart_after_s, lambda: self.world.restart(name))

    def _planned_pause(self, fault: Pause) -> None:
        name = self._struck(fault.node)
        self.world.pause(name)
        self._later(self.world.now_s + fault.for_s, lambda: self.world.resume(name))

    def _struck(self, name: str) -> str:
        return self.likely_leader().name if name == "leader" else name

    @staticmethod
    def _skew(host: Any, rate: float, offset_s: float) -> None:
        host.rate, host.offset = rate, offset_s

    # -------------------------------------------------------------------------------------------- at random

    def likely_leader(self) -> Any:
        """The node that last noted that it leads; without notes, the one that has sent most of late."""
        leader = self.world._leader
        if leader is not None and leader.up:
            return leader
        busiest = max(self.targets, key=lambda host: host.sent)
        for host in self.targets:
            host.sent = 0
        return busiest

    def _victim(self) -> Any:
        if self.faults.aim and self.random.random() < self.faults.aim:
            return self.likely_leader()
        return self.random.choice(self.targets)

    def _random_crash(self) -> None:
        self.crash(self._victim())

    def _random_pause(self) -> None:
        name = self._victim().name
        self.world.pause(name)
        self._after_ms(self.faults.paused_ms, lambda: self.world.resume(name))

    def _random_partition(self) -> None:
        names = [host.name for host in self.targets]
        first = self._victim().name
        others = [name for name in names if name != first]
        beside = self.random.sample(others, self.random.randint(0, max(0, len(others) - 1)))
        one_way = self.random.random() < 0.25
        self.world.cut(Partition([[first, *beside]], one_way=one_way).cuts(names))
        self._after_ms(self.faults.parted_ms, self.world.heal)

    # -------------------------------------------------------------------------------------------- the calendar

    def _next(self, rate: float, act) -> None:
        def strike() -> None:
            if not self.stopped:
                act()
                self._next(rate, act)

        self._later(self.world.now_s + self.random.expovariate(rate), strike)

    def _after_ms(self, span: tuple[float, float], act) -> None:
        self._later(self.world.now_s + self.random.uniform(*span) / 1000, act)

    def _later(self, at_s: float, act) -> None:
        self.world._at(int(at_s * SECOND), _call, None, act)


def _call(_: None, act) -> int:
    act()
    return 1
