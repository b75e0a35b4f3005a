"""What may go wrong in a world, as data: the rules of its links, planned faults, and faults drawn at random.

`Faults` is what a world is given. The simulation knows all of it; real processes know all but clocks and disks.
Times are seconds from the start unless a name ends in ``_ms``.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence

from labsupport.errors import LearnerError

DISTRIBUTIONS = ("constant", "uniform", "exponential")


def _need(holds: bool, what: str, wanted: str) -> None:
    if not holds:
        raise LearnerError(f"{what} cannot be.", do=f"give {wanted}")


@dataclasses.dataclass(frozen=True)
class Link:
    """How one direction between two nodes behaves.

    Args:
        delay_ms: the mean delay of a message.
        distribution: "constant"; "uniform", from 0 to twice the mean; "exponential". The last two reorder messages.
        least_ms: added to every delay.
        loss: the share of messages that never arrive, 0 to 1.
        duplicate: the share of messages that arrive twice.
        straggle: the share of messages that take `straggle_ms` longer, so long that they come after everything else.
        straggle_ms: how much longer.
    """

    delay_ms: float = 5.0
    distribution: str = "uniform"
    least_ms: float = 0.1
    loss: float = 0.0
    duplicate: float = 0.0
    straggle: float = 0.0
    straggle_ms: float = 200.0

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise LearnerError(f"No delay is {self.distribution!r}.", do=f"choose from {', '.join(DISTRIBUTIONS)}")
        for name in ("loss", "duplicate", "straggle"):
            _need(0 <= getattr(self, name) <= 1, f"Link({name}={getattr(self, name)!r})", "a share from 0 to 1")
        for name in ("delay_ms", "least_ms", "straggle_ms"):
            _need(getattr(self, name) >= 0, f"Link({name}={getattr(self, name)!r})", "zero or more milliseconds")

    def draw_delay_s(self, stream: random.Random) -> float:
        """One delay in seconds."""
        mean = self.delay_ms / 1000
        if self.distribution == "uniform":
            delay = mean * 2 * stream.random()
        elif self.distribution == "exponential":
            delay = stream.expovariate(1 / mean) if mean else 0.0
        else:
            delay = mean
        late = self.straggle_ms / 1000 if self.straggle and stream.random() < self.straggle else 0.0
        return self.least_ms / 1000 + delay + late


@dataclasses.dataclass(frozen=True)
class Crash:
    """A node stops in the middle of things and loses what it has not saved.

    Args:
        node: its name, or "leader": whichever node looks like one then.
        at_s: when.
        restart_after_s: how long it is down; None means for good.
        lose_disk: it also loses what it has saved.
    """

    node: str
    at_s: float
    restart_after_s: float | None = 0.1
    lose_disk: bool = False


@dataclasses.dataclass(frozen=True)
class Pause:
    """A node stands still for a while and does not notice; what is sent to it waits."""

    node: str
    at_s: float
    for_s: float


@dataclasses.dataclass(frozen=True)
class Partition:
    """Nodes of different groups do not reach each other; a node in no group forms a group with the others left over.

    Args:
        groups: lists of names, for example ``[["n1", "n2"], ["n3"]]``, or ``[["n1"]]`` to cut off n1.
        at_s: when.
        for_s: how long; None means for good.
        one_way: only messages from the first group to the others are lost.
    """

    groups: Sequence[Sequence[str]]
    at_s: float = 0.0
    for_s: float | None = None
    one_way: bool = False

    def cuts(self, names: Iterable[str]) -> frozenset[tuple[str, str]]:
        """The pairs (from, to) that it cuts."""
        side = {name: number for number, group in enumerate(self.groups) for name in group}
        everyone = sorted(names)
        return frozenset(
            (a, b)
            for a in everyone
            for b in everyone
            if side.get(a, -1) != side.get(b, -1) and not (self.one_way and side.get(a, -1) != 0)
        )


@dataclasses.dataclass(frozen=True)
class Skew:
    """A node's clock is wrong, from the start.

    Args:
        node: its name.
        offset_s: what its clock shows at the start.
        rate: how many of its seconds pass in one; its timers go off earlier when it is above 1.
    """

    node: str
    offset_s: float = 0.0
    rate: float = 1.0


Planned = Crash | Pause | Partition | Skew


@dataclasses.dataclass(frozen=True)
class Faults:
    """All that may go wrong in one run.

    Args:
        loss, duplicate: shorthands for those shares of `link`.
        link: the rule of every link between nodes.
        links: other rules for single directions, by the pair (from, to).
        client_link: the rule between clients and nodes.
        plan: faults at given times.
        crashes_per_s, pauses_per_s, partitions_per_s: how often they come at random, in the whole cluster.
        down_ms, paused_ms, parted_ms: shortest and longest duration of those.
        crash_at_save: the chance of a crash at any one save: right before, right after, or some milliseconds later.
        lose_disk: the share of crashes that lose the disk too.
        aim: the share of random faults that strike the node that looks like the leader.
        skew: the largest share by which clocks run fast or slow at random, such as 0.1.
        until_s: no random faults after this, and everything is healed then; None means never.

    >>> Faults(loss=0.02, plan=[Crash("n1", at_s=1.5)]).link.loss
    0.02
    """

    loss: dataclasses.InitVar[float | None] = None
    duplicate: dataclasses.InitVar[float | None] = None
    link: Link = Link()
    links: Mapping[tuple[str, str], Link] = dataclasses.field(default_factory=dict)
    client_link: Link = Link(delay_ms=1.0)
    plan: Sequence[Planned] = ()
    crashes_per_s: float = 0.0
    pauses_per_s: float = 0.0
    partitions_per_s: float = 0.0
    down_ms: tuple[float, float] = (5.0, 300.0)
    paused_ms: tuple[float, float] = (20.0, 500.0)
    parted_ms: tuple[float, float] = (50.0, 800.0)
    crash_at_save: float = 0.0
    lose_disk: float = 0.0
    aim: float = 0.0
    skew: float = 0.0
    until_s: float | None = None

    def __post_init__(self, loss: float | None, duplicate: float | None) -> None:
        given = {name: share for name, share in (("loss", loss), ("duplicate", duplicate)) if share is not None}
        if given:
            object.__setattr__(self, "link", dataclasses.replace(self.link, **given))
        for name in ("crash_at_save", "lose_disk", "aim", "skew"):
            _need(0 <= getattr(self, name) <= 1, f"Faults({name}={getattr(self, name)!r})", "a share from 0 to 1")

    def rule(self, source: str, dest: str, between_nodes: bool) -> Link:
        """The rule of one direction."""
        return self.links.get((source, dest)) or (self.link if between_nodes else self.client_link)

    @property
    def draws(self) -> bool:
        """Whether any fault of nodes comes at random."""
        return bool(self.crashes_per_s or self.pauses_per_s or self.partitions_per_s)
