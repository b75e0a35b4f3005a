"""One direction between two nodes, and the requests of one node that wait for an answer."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from labsupport.faults import Link
from labsupport.sim.host import SECOND, Host, Wait

CALM_MS = 5.0  # the longest mean delay of a link in a calm network


class Directed:
    """One direction between two nodes, with its own stream of random numbers."""

    __slots__ = ("arrive", "base", "draw", "loss", "more", "odd", "rule", "slow", "target")

    def __init__(self, target: Host, arrive: Callable, rule: Link, stream: random.Random) -> None:
        self.target, self.arrive, self.rule, self.draw = target, arrive, rule, stream.random
        self.loss = rule.loss
        self.odd = rule.loss + (1 - rule.loss) * rule.duplicate  # the share of messages that are lost or come twice
        self.base, self.more = int(rule.least_ms * 1000), float(rule.delay_ms * 2000)
        self.slow: Callable[[], int] | None = None  # draws a delay that is not uniform
        if rule.distribution != "uniform" or rule.straggle:
            self.base, self.slow = 0, lambda: int(rule.draw_delay_s(stream) * SECOND)

    def calm(self) -> None:
        """Lose and repeat nothing from now on, and be quick."""
        self.loss = self.odd = 0.0
        self.more, self.slow = 2 * min(self.rule.delay_ms, CALM_MS) * 1000.0, None

    def delay(self) -> int:
        """How many microseconds the next message takes."""
        return self.base + int(self.draw() * self.more) if self.slow is None else self.slow()


class Queue:
    """The requests of one host that have the same time limit, the oldest first."""

    __slots__ = ("span", "waits")

    def __init__(self, span: int) -> None:
        self.span: int = span
        self.waits: deque[Wait] = deque()
