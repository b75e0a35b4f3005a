"""Guided random search: each seed draws its own cluster size, length and mixture of faults, zero included.

Any fixed mixture has blind spots; a different one for each seed has none that we know of. Two thirds of the seeds aim
at the leader; a quarter have no fault but delays; a quarter end in a calm network in which something good must happen.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable, Sequence

from labsupport.faults import Faults, Link
from labsupport.sim.properties import Property, Violated
from labsupport.sim.scenario import Scenario
from labsupport.sim.world import World

LENGTHS = (150, 500, 1000, 1500, 4000)  # events: persistence shows in many short runs, Figure 8 only in long ones
CALM_S = 5.0  # how long the network is calm at the end of a run that also asks for progress


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one seed has drawn."""

    seed: int
    nodes: int
    faults: Faults
    events: int
    calm_at_end: bool


@dataclasses.dataclass
class Tried:
    """What a number of runs have shown."""

    runs: int = 0
    events: int = 0
    reached: Counter = dataclasses.field(default_factory=Counter)
    failed: int | None = None
    violated: str = ""

    def add(self, other: Tried) -> None:
        """Take in what other runs have shown."""
        self.runs += other.runs
        self.events += other.events
        self.reached.update(other.reached)
        if self.failed is None and other.failed is not None:
            self.failed, self.violated = other.failed, other.violated


def draw(scenario: Scenario, seed: int) -> Plan:
    """Draw a plan."""
    stream = random.Random(f"{seed}/swarm")
    nodes, events = stream.choice(list(scenario.nodes)), stream.choice(LENGTHS)
    link = Link(
        delay_ms=stream.choice((1.0, 3.0, 10.0, 30.0, 80.0, 160.0)),
        distribution=stream.choice(("uniform", "exponential")),
        straggle=stream.choice((0.0, 0.0, 0.02, 0.1)),
        straggle_ms=stream.choice((100.0, 200.0, 400.0)),
    )
    if stream.random() < 0.25:
        return Plan(seed, nodes, Faults(link=link), events, seed % 4 == 3)
    faults = Faults(
        loss=stream.choice((0.0, 0.01, 0.05, 0.2)),
        duplicate=stream.choice((0.0, 0.02, 0.1)),
        link=link,
        crashes_per_s=stream.choice((0.0, 1.0, 4.0, 10.0)),
        partitions_per_s=stream.choice((0.0, 0.5, 2.0)),
        pauses_per_s=stream.choice((0.0, 0.0, 1.0)),
        down_ms=stream.choice(((1.0, 10.0), (5.0, 60.0), (5.0, 300.0))),
        crash_at_save=stream.choice((0.0, 0.01, 0.05, 0.2)),
        aim=stream.choice((0.0, 0.8, 0.8)),
        skew=stream.choice((0.0, 0.0, 0.1)),
    )
    return Plan(seed, nodes, faults, events, seed % 4 == 3)


def run(
    scenario: Scenario, seed: int, longest: int = max(LENGTHS), record: bool = True, calm: bool = True
) -> tuple[World, Plan]:
    """Run what a seed draws, cut to a length; the world that results, with its violation if there is one.

    Args:
        scenario: what to run.
        seed: what all is drawn from.
        longest: how many events there are at most, before the calm.
        record: whether the world has a trace.
        calm: whether to go on in a calm network, if the plan says so.
    """
    plan = draw(scenario, seed)
    world = scenario.world(seed, plan.nodes, plan.faults, record)
    world.advance(max_events=min(plan.events, longest))
    if calm and plan.calm_at_end and world.violation is None:
        world.calm()
        world.advance(until_s=world.now_s + CALM_S, max_events=20 * max(LENGTHS))
    if world.violation is None:
        world.finish()
    return world, plan


class _Reached(Property):
    """Which of the notes that must appear in some run have appeared in this one."""

    def __init__(self, sometimes: Sequence[str]) -> None:
        self.hears, self.seen = tuple(sometimes), set()

    def heard(self, world: World, node: str, what: str, facts: dict) -> str:
        self.seen.add(what)
        return ""


def search(scenario: Scenario, seeds: Iterable[int]) -> Tried:
    """Run seed after seed, without a trace, until one fails."""
    seen: list[_Reached] = []

    def reached() -> _Reached:
        seen.append(_Reached(scenario.sometimes))
        return seen[-1]

    watched = dataclasses.replace(scenario, properties=(*scenario.properties, reached))
    tried = Tried(reached=Counter(dict.fromkeys(scenario.sometimes, 0)))
    for seed in seeds:
        world, _ = run(watched, seed, record=False)
        tried.runs += 1
        tried.events += world.events
        tried.reached.update(seen.pop().seen)
        violated: Violated | None = world.violation
        world.discard()
        if violated is not None:
            tried.failed, tried.violated = seed, str(violated)
            break
    return tried
