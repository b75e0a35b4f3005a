"""From a failed run to the shortest one that fails in the same way: delta debugging on its steps.

The steps of the failed run are repeated without time, some are left out, and what still fails is kept. A step that has
become impossible is passed over; one that is still possible means what it has meant (`labsupport.sim.steps`), so that
thousands can go at a time. A candidate counts only if the same property is violated, or else the shrinker would slide
to another mistake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from labsupport.sim.properties import Violated
from labsupport.sim.scenario import Scenario
from labsupport.sim.steps import Step, is_step, steps_of
from labsupport.sim.world import World
from labsupport.trace import Trace

MOST_EVENTS = 100_000  # what a shrinking may spend: one to two seconds
FINE = 16  # steps: before so few are left out at a time, whole kinds of steps are


@dataclasses.dataclass
class Shrunk:
    """A short run that fails."""

    steps: list[Step]
    violated: Violated
    trace: Trace


class _Shrinker:
    def __init__(self, scenario: Scenario, seed: int, nodes: int, name: str, budget: int, clients: bool) -> None:
        self.scenario, self.seed, self.nodes, self.name = scenario, seed, nodes, name
        self.left, self.clients = budget, clients

    def tried(self, steps: Sequence[Step]) -> Shrunk | None:
        """The steps that could be taken up to the violation; None if there is none, or another one."""
        world = self.scenario.steps(self.seed, self.nodes, self.clients)
        for step in steps:
            if world.violation is not None:
                break
            world.do(step)
        for one in world.properties:
            if world.violation is None and (complaint := one.at_end(world)):
                world._end(Violated(one.name, complaint))
        self.left -= world.events + 5  # making a world costs as much as a few events
        found = world.violation
        trace = world.trace if found is not None and found.name == self.name else None
        drawn = world.drawn
        world.discard()
        return None if trace is None else Shrunk(steps_of(trace.records, drawn), found, trace)

    def shrink(self, best: Shrunk) -> Shrunk:
        """Leave out much at a try at first, in the end single steps, until none is left that can be missed."""
        best = self._last(best)
        best = self._without_groups(best, lambda step: step.node)
        size = len(best.steps) // 2
        while size >= FINE:
            best = self._without_runs(best, size)
            size = min(size, len(best.steps)) // 2
        best = self._without_groups(best, lambda step: (step.node, step.kind, _what(step)))
        size = FINE
        while self.left > 0:
            before = len(best.steps)
            best = self._without_trees(best) if size == 2 else best
            best = self._without_runs(best, size)
            if size > 1:
                size //= 2
            elif len(best.steps) == before:
                break
        return best

    def shorter(self, best: Shrunk, steps: Sequence[Step]) -> Shrunk:
        """What these steps show, if they are fewer and fail; else the best so far."""
        found = self.tried(steps) if len(steps) < len(best.steps) and self.left > 0 else None
        return best if found is None else found

    def _last(self, best: Shrunk) -> Shrunk:
        """Leave out the beginning: most of what a long run has been through is of no matter."""
        size = FINE
        while size < len(best.steps):
            best = self.shorter(best, best.steps[-size:])
            size = size * 3 // 2
        return best

    def _without_trees(self, best: Shrunk) -> Shrunk:
        """Leave out one timer or the like with all that came of it, from the last to the first."""
        for root in range(len(best.steps) - 1, -1, -1):
            trees = _trees(best.trace.records)
            if root in trees[:-1]:
                best = self.shorter(best, [step for step, tree in zip(best.steps, trees, strict=True) if tree != root])
        return best

    def _without_groups(self, best: Shrunk, group: Callable[[Step], Any]) -> Shrunk:
        """Leave out everything that is of one kind, one kind after the other."""
        for kind in sorted({group(step) for step in best.steps}):
            best = self.shorter(best, [step for step in best.steps if group(step) != kind])
        return best

    def _without_runs(self, best: Shrunk, size: int) -> Shrunk:
        """Leave out runs of so many steps, from the end to the beginning."""
        start = len(best.steps) - size
        while start > -size and self.left > 0:
            best = self.shorter(best, best.steps[: max(start, 0)] + best.steps[start + size :])
            start = min(start, len(best.steps)) - size
        return best


def _trees(records: Sequence[tuple]) -> list[int]:
    """For each step, where all began that led to it: the step, no delivery, that set the messages off."""
    roots: list[int] = []
    sent_in: dict[int, int] = {}
    for _, kind, _, detail in records:
        if kind == "send":
            sent_in[detail[0]] = roots[-1] if roots else -1
        elif is_step(kind, detail):
            roots.append(sent_in[detail[0]] if kind == "deliver" else len(roots))
    return roots


def _what(step: Step) -> str:
    return step.detail[1] if step.kind in ("deliver", "timeout") else ""


def shrink(scenario: Scenario, world: World, nodes: int, budget: int = MOST_EVENTS) -> Shrunk | None:
    """Shrink a failed run.

    Args:
        scenario: what was run.
        world: the world that has failed.
        nodes: its size.
        budget: how many events may be spent.

    Returns:
        A short run with the same violation; None if the failure depends on times and does not come without them.
    """
    return shrink_steps(scenario, world.seed, nodes, steps_of(world._records), world.violation, budget)


def shrink_steps(
    scenario: Scenario,
    seed: int,
    nodes: int,
    steps: Sequence[Step],
    violated: Violated,
    budget: int = MOST_EVENTS,
    clients: bool = True,
) -> Shrunk | None:
    """Shrink a failed run that is given by its steps; see `shrink`."""
    work = _Shrinker(scenario, seed, nodes, violated.name, budget, clients)
    first = work.tried(steps)
    return None if first is None else work.shrink(first)
