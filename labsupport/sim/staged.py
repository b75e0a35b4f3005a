"""A search that is led from goal to goal to a named scenario, such as Figure 8 of the Raft paper.

Each stage is searched exhaustively from where the one before it has ended; what was under way by then is lost. So a
scenario of forty steps takes a thousand states. It needs an author who knows the way: a loose goal leads elsewhere,
and then nothing has been shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from labsupport.sim.exhaustive import Limits, Searched, search
from labsupport.sim.scenario import Scenario
from labsupport.sim.steps import Steps

_STAGE = Limits(states=5_000, depth=16, timers=4, clients=True)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One part of the way.

    Args:
        name: what is the case at its end, such as "n1 leads".
        goal: tells from the world whether this is so; None for the last stage, which only looks for a violation.
        only: the nodes and clients that take part; everybody when empty.
        limits: how far it goes.
    """

    name: str
    goal: Callable[[Steps], bool] | None
    only: tuple[str, ...] = ()
    limits: Limits = _STAGE


def search_stages(scenario: Scenario, stages: Sequence[Stage], nodes: int, seed: int = 0) -> Searched:
    """Go from stage to stage until a property is violated; `Searched.reached` says which goals were reached."""
    whole, begun = Searched(complete=True), []
    whole.reached.update(dict.fromkeys((stage.name for stage in stages), 0))
    for stage in stages:
        limits = dataclasses.replace(stage.limits, only=stage.only)
        part = search(scenario, nodes, seed, limits, begun=begun, goal=stage.goal)
        whole.states, whole.events = whole.states + part.states, whole.events + part.events
        whole.depth = len(begun) + part.depth
        whole.complete = whole.complete and (part.complete or part.steps is not None)
        if part.violated is not None:
            whole.steps, whole.violated = part.steps, part.violated
            return whole
        if stage.goal is not None and part.steps is None:
            return whole
        whole.reached[stage.name], begun = 1, part.steps
    return whole
