"""What a node becomes by the steps that happen at it: worked out once, however many states of a cluster it is part of.

A step happens at one node, and what the node does depends on its own life alone: what it has been told, in which order.
Thousands of states of a cluster are made of a few hundred lives. So a step is carried out when a life takes it for the
first time, in a world where no property listens; after that its outcome is known.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence

from labsupport.sim import state
from labsupport.sim.core import Host
from labsupport.sim.steps import Step, Steps

# One step and the message that it delivers, if it delivers one.
Lived = tuple[Step, tuple | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Life:
    """One node after some steps.

    Args:
        name: the node's.
        lived: its steps.
        text: all of it that can influence what it will do.
        face: the same without names.
        timers: those that run.
        waits: (token, dest, wire type) of each request that is awaited, with "" for a sleep.
        timeless: whether the node has not looked at its clock, so that it is no matter when things happen to it.
    """

    name: str
    lived: tuple[Lived, ...]
    text: str
    face: str
    timers: tuple[str, ...]
    waits: tuple[tuple[int, str, str], ...]
    timeless: bool

    @classmethod
    def of(cls, host: Host, lived: tuple[Lived, ...]) -> Life:
        """What a node of a world has become by now."""
        text, waits = state.of_host(host), tuple((wait.token, wait.dest, wait.what) for wait in host.waits.values())
        return cls(host.name, lived, text, nameless(text, host.name), tuple(host.timers), waits, not host.saw_clock)

    def awaits(self, envelope: tuple) -> bool:
        """Whether a message is none of the answers that come too late."""
        return envelope[6] is None or any(envelope[6] == token for token, _, _ in self.waits)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What comes of a step: the life after it, what was sent meanwhile, and what properties could hear of."""

    life: Life
    sent: tuple[tuple, ...]
    heard: frozenset[str]


class Lives:
    """Knows what comes of steps.

    Args:
        world: one that has just been made; from here on it is used for trying steps out.
    """

    def __init__(self, world: Steps) -> None:
        self._world = world
        self._newborn: dict[str, Life] = {}
        world._hearing, world._watching = {}, []
        self._now: dict[str, tuple[Lived, ...]] = {name: () for name in world.hosts}
        self._known: dict[tuple, Outcome | None] = {}

    def newborn(self, host: Host) -> Life:
        """The life of a node that has taken no step yet."""
        return self._newborn.setdefault(host.name, Life.of(host, ()))

    def discard(self) -> None:
        """Let go of the world."""
        self._world.discard()

    def outcome(self, life: Life, steps: Sequence[Step], envelope: tuple | None) -> Outcome | None:
        """What comes of the next steps of a life; None if that depends on more than this life, or is an exception.

        Args:
            life: the node before.
            steps: what happens to it, one step and what always follows it.
            envelope: the message that the first step delivers.
        """
        if not life.timeless:
            return None
        first = steps[0]
        what = first.detail if envelope is None else (envelope[1], envelope[3], repr(envelope[4]), *envelope[5:])
        key = (life, first.kind, what)
        if key not in self._known:
            self._known[key] = self._tried(life, steps, envelope)
        return self._known[key]

    def _tried(self, life: Life, steps: Sequence[Step], envelope: tuple | None) -> Outcome | None:
        world, host = self._world, self._world.hosts[life.name]
        if self._now[life.name] is not life.lived:
            world._silence(host)
            host.begin()
            host.random.seed(f"{world.seed}/node/{life.name}")
            world._guarded(host, lambda: world._start(host))
            for step, delivered in life.lived:
                self._do(step, delivered)
        world._records.clear()
        sent = [new for step in steps for new in self._do(step, envelope)]
        after = self._now[life.name] = (*life.lived, *((step, envelope) for step in steps))
        if world.violation is not None:
            world.violation, self._now[life.name] = None, None
            return None
        new = Life.of(host, after)
        return Outcome(new, tuple(sent), heard_in(world._records)) if new.timeless else None

    def _do(self, step: Step, envelope: tuple | None) -> list[tuple]:
        """Carry out a step; what was sent."""
        world = self._world
        there = {} if envelope is None else {envelope[0]: envelope}
        world.pending, world.delivered = ({}, there) if step.again else (there, {})
        world.do(step)
        return list(world.pending.values())


def heard_in(records: Sequence[tuple]) -> frozenset[str]:
    """What properties can have heard while this was written down."""
    return frozenset(detail[0] if kind == "note" else kind for _, kind, _, detail in records)


_NAME = re.compile(r"\b[nc]\d+\b")


@functools.lru_cache(maxsize=10_000)  # messages are much the same in all states
def nameless(text: str, me: str) -> str:
    """A text in which no node is called by its name, but `me` can be told from the others."""
    return _NAME.sub(lambda name: "me" if name[0] == me else "?", text)
