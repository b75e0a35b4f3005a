"""What goes wrong during a run, planned before it begins: partitions, kills and pauses, each on and off in turn.

Source: the nemesis packages of Jepsen, of which Maelstrom offers partitions.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from labsupport.errors import LearnerError

Cuts = frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Stroke:
    """One thing that the nemesis does.

    Args:
        at_s: when, in seconds from the start.
        what: "partition", "heal", "kill", "restart", "pause" or "resume".
        nodes: whom it strikes; for a partition those that are cut off or hear least.
        cuts: for a partition, the directions (from, to) in which nothing arrives.
    """

    at_s: float
    what: str
    nodes: tuple[str, ...] = ()
    cuts: Cuts = frozenset()

    def as_json(self) -> dict[str, Any]:
        """The stroke as a JSON object."""
        cuts = [list(pair) for pair in sorted(self.cuts)]
        return {"at_s": round(self.at_s, 3), "what": self.what, "nodes": list(self.nodes), "cuts": cuts}


# Which stroke begins a fault, and which ends it.
FAULTS = {"partition": ("partition", "heal"), "kill": ("kill", "restart"), "pause": ("pause", "resume")}


def plan(faults: Iterable[str], nodes: Sequence[str], interval_s: float, until_s: float, seed: int) -> list[Stroke]:
    """All strokes of a run, in order; what still goes on at the end is for the caller to end.

    Args:
        faults: of `FAULTS`.
        nodes: the names of all nodes.
        interval_s: how long a fault stays on, and off, on average; at most twice as long.
        until_s: no stroke is later.
        seed: what the times and the nodes are drawn from.

    Raises:
        LearnerError: there is no such fault.

    >>> [stroke.what for stroke in plan(["partition"], ["n1", "n2", "n3"], 5, 30, seed=1)][:3]
    ['partition', 'heal', 'partition']
    """
    strokes: list[Stroke] = []
    for fault in sorted(set(faults)):
        if fault not in FAULTS:
            raise LearnerError(f"There is no fault {fault!r}.", do=f"choose from {', '.join(FAULTS)}")
        stream = random.Random(f"{seed} {fault}")
        strokes += _in_turn(fault, tuple(nodes), interval_s, until_s, stream)
    return sorted(strokes, key=lambda stroke: stroke.at_s)


def _in_turn(fault: str, nodes: tuple[str, ...], interval_s: float, until_s: float, stream) -> Iterator[Stroke]:
    begins, ends = FAULTS[fault]
    at_s, struck = stream.uniform(0, 2 * interval_s), None
    while at_s < until_s:
        if struck is not None:
            yield Stroke(at_s, ends, struck if fault != "partition" else ())
            struck = None
        elif fault == "partition":
            struck, cuts = _partition(nodes, stream)
            yield Stroke(at_s, begins, struck, cuts)
        else:
            struck = _some(nodes, stream.choice(("one", "minority", "all")), stream)
            yield Stroke(at_s, begins, struck)
        at_s += stream.uniform(0, 2 * interval_s)


def _some(nodes: tuple[str, ...], how_many: str, stream: random.Random) -> tuple[str, ...]:
    count = {"one": 1, "minority-third": (len(nodes) - 1) // 3, "minority": (len(nodes) - 1) // 2, "all": len(nodes)}
    return tuple(sorted(stream.sample(nodes, max(count[how_many], 1))))


def _partition(nodes: tuple[str, ...], stream: random.Random) -> tuple[tuple[str, ...], Cuts]:
    how = stream.choice(("one", "minority-third", "majority", "majorities-ring"))
    if how == "majorities-ring" and len(nodes) > 2:
        return nodes, _majorities_ring(nodes, stream)
    apart = _some(nodes, "minority" if how in ("majority", "majorities-ring") else how, stream)
    cuts = {(a, b) for a in apart for b in nodes if b not in apart}
    return apart, frozenset(cuts | {(b, a) for a, b in cuts})


def _majorities_ring(nodes: tuple[str, ...], stream: random.Random) -> Cuts:
    """Every node hears a majority, and no two hear the same one."""
    ring = stream.sample(nodes, len(nodes))
    majority = len(ring) // 2 + 1
    cuts = set()
    for place, name in enumerate(ring):
        heard = {ring[(place - majority // 2 + step) % len(ring)] for step in range(majority)}
        cuts |= {(other, name) for other in ring if other not in heard}
    return frozenset(cuts)
