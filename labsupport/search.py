"""`explore`: look for a run that breaks a node class, on all cores, and show the shortest one that does.

This is the one module around the simulation that starts processes; everything that it runs in them is pure, so that a
seed gives the same run here, in a worker and in a test. Worker processes are forked: they begin with the learner's
classes, which live in a notebook and could not be imported.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from labsupport.errors import LearnerError
from labsupport.node import Node
from labsupport.rerun import Rerun
from labsupport.sim import exhaustive, guard, shrink, suspicion, swarm
from labsupport.sim.properties import Property
from labsupport.sim.scenario import Scenario
from labsupport.sim.staged import Stage, search_stages
from labsupport.sim.steps import Step, Steps
from labsupport.sim.world import World
from labsupport.spacetime import drawn
from labsupport.trace import Trace

CHUNK = 16  # seeds that a worker tries at a time
TWICE = 100  # one in so many seeds that pass is run twice, to see whether it repeats
PREFIXES = (10, 20, 40, 80)  # events before all is calm, when nothing good happens afterwards
PREFIX_SEEDS = 40  # so many seeds are tried with each


@dataclasses.dataclass
class Finding:
    """A run that breaks something.

    Attributes:
        broken: the name of the violated property, or of the exception.
        sentence: what is wrong.
        seed: what the run was drawn from.
        nodes: how many nodes it had.
        trace: the shrunk run, or the whole one if it does not shrink.
        steps: what to do one after the other to see it again; empty if the run does not shrink.
        events_before: how long the run was that was found.
    """

    broken: str
    sentence: str
    seed: int
    nodes: int
    trace: Trace
    steps: list[Step]
    events_before: int
    scenario: Scenario = dataclasses.field(repr=False)
    clients: bool = True

    def replay(self, count: int | None = None) -> Steps:
        """The world after so many of the steps (all of them when not given); go back by asking for fewer.

        >>> finding.replay(3).nodes["n1"].term  # doctest: +SKIP
        """
        world = self.scenario.steps(self.seed, self.nodes, self.clients)
        with guard.watching(world.hosts.values()):
            for step in self.steps[: len(self.steps) if count is None else count]:
                world.do(step)
        return world

    def __str__(self) -> str:
        length = f"{len(self.steps)} steps" if self.steps else "not repeated step by step, because it depends on times"
        return f"{self.broken}: {self.sentence}\nseed {self.seed}, {self.nodes} nodes, {length}\n{drawn(self.trace)}"


@dataclasses.dataclass
class Exploration:
    """What a search has tried and found; true when nothing was found and everything was reached."""

    states: int
    complete: bool
    schedules: int
    events: int
    reached: dict[str, int]
    finding: Finding | None

    @property
    def unreached(self) -> list[str]:
        """What should have happened in some run and never did: then the search has not shown anything."""
        return sorted(name for name, times in self.reached.items() if not times)

    def __bool__(self) -> bool:
        return self.finding is None and not self.unreached

    def __str__(self) -> str:
        every = "all" if self.complete else "the first"
        tried = f"{every} {self.states:,} states of a small cluster and {self.schedules:,} schedules with "
        tried += f"{self.events:,} events were tried"
        if self.finding is not None:
            return f"{self.finding}\n({tried}.)"
        if self.unreached:
            return f"Nothing was shown: in no run was there any {' or '.join(self.unreached)} ({tried})."
        return f"No violation: {tried}."


def explore(
    kind: type[Node],
    *,
    nodes: Sequence[int] | int = (3, 5),
    clients: Mapping[str, type[Node]] | None = None,
    properties: Sequence[Callable[[], Property]] = (),
    sometimes: Sequence[str] = (),
    states: int = 2_000,
    schedules: int = 1_000,
    seed: int = 0,
    cores: int | None = None,
    stages: Sequence[Stage] = (),
) -> Exploration:
    """Look for a run that breaks a node class.

    First every order of events of a small cluster, nearest first; then random runs with faults, each seed with another
    mixture. What is found is shrunk. With stages, the way to one named scenario is searched instead.

    Args:
        kind: the node class.
        nodes: the sizes to try; the smallest one is searched exhaustively.
        clients: classes of clients by name; they take part in the random runs.
        properties: what must hold.
        sometimes: notes (`Context.note`) of which each must appear in some run.
        states: how many states the exhaustive search visits at most; 0 leaves it out.
        schedules: how many random runs there are at most; 0 leaves them out.
        seed: the first seed.
        cores: how many processes at a time; all cores when not given.
        stages: the goals on the way to a scenario, one after the other, in a cluster of the smallest size with clients.

    Raises:
        LearnerError: the node class breaks the contract: nodes share state, or a run does not repeat.
    """
    sizes = (nodes,) if isinstance(nodes, int) else tuple(nodes)
    scenario = Scenario(kind, sizes, clients or {}, tuple(properties), tuple(sometimes))
    before = suspicion.shared_values(scenario.kinds)
    try:
        with Rerun(scenario, seed) as elsewhere:
            done = (
                _staged(scenario, stages, seed)
                if stages
                else _explore(scenario, states, schedules, seed, cores or _cores())
            )
            elsewhere.compare()
            return done
    finally:
        suspicion.refuse_shared(before, suspicion.shared_values(scenario.kinds))


def _staged(scenario: Scenario, stages: Sequence[Stage], seed: int) -> Exploration:
    small = min(scenario.nodes)
    every = search_stages(scenario, stages, small, seed)
    finding = _of_steps(scenario, seed, small, every, clients=True) if every.violated is not None else None
    return Exploration(every.states, every.complete, 0, every.events, dict(every.reached), finding)


def _explore(scenario: Scenario, states: int, schedules: int, seed: int, cores: int) -> Exploration:
    small = min(scenario.nodes)
    every = exhaustive.climb(scenario, small, seed, states) if states else exhaustive.Searched()
    reached = {name: every.reached[name] for name in scenario.sometimes}
    done = Exploration(every.states, every.complete, 0, every.events, reached, None)
    if every.violated is not None:
        done.finding = _of_steps(scenario, seed, small, every)
        return done
    failed = []
    for part in _parts(scenario, seed, schedules, cores):
        done.schedules += part.runs
        done.events += part.events
        for name, times in part.reached.items():
            reached[name] += times
        if part.failed is not None:
            failed.append(part.failed)
            break
    if failed:
        done.finding = of_seed(scenario, failed[0])
    return done


# ------------------------------------------------------------------------------------------------ many processes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_scenario: Scenario | None = None  # what forked workers are born with


def _parts(scenario: Scenario, seed: int, schedules: int, cores: int) -> Iterator[swarm.Tried]:
    """The results of all chunks of seeds in the order of the seeds, so that the first failure is always the same."""
    global _scenario
    chunks = [range(first, min(first + CHUNK, seed + schedules)) for first in range(seed, seed + schedules, CHUNK)]
    if cores == 1 or len(chunks) < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from (_try(scenario, chunk) for chunk in chunks)
        return
    _scenario = scenario
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a worker runs nothing that needs another thread
            pool = multiprocessing.get_context("fork").Pool(cores)
        with pool:
            yield from pool.imap(_try_here, chunks)
    finally:
        _scenario = None


def _try_here(seeds: range) -> swarm.Tried | LearnerError:
    return _try(_scenario, seeds)


def _try(scenario: Scenario, seeds: range) -> swarm.Tried:
    world = scenario.world(seeds[0], min(scenario.nodes), swarm.Faults())
    with guard.watching(world.hosts.values()):
        before = suspicion.shared_values(scenario.kinds)
        tried = swarm.search(scenario, seeds)
        suspicion.refuse_shared(before, suspicion.shared_values(scenario.kinds))
        for seed in (seed for seed in seeds if seed % TWICE == 0 or seed == tried.failed):
            suspicion.refuse_unequal(seed, _trace(scenario, seed), _trace(scenario, seed))
    return tried


def _trace(scenario: Scenario, seed: int) -> Trace:
    world, _ = swarm.run(scenario, seed)
    trace = world.trace
    world.discard()
    return trace


# ------------------------------------------------------------------------------------------------ what is shown


def _of_steps(scenario: Scenario, seed: int, nodes: int, every: exhaustive.Searched, clients: bool = False) -> Finding:
    steps, violated = every.steps or [], every.violated
    world = scenario.steps(seed, nodes, clients)
    with guard.watching(world.hosts.values()):
        found = shrink.shrink_steps(scenario, seed, nodes, steps, violated, clients=clients)
        for step in steps:
            world.do(step)
    trace, short = (found.trace, found.steps) if found else (world.trace, steps)
    world.discard()
    return Finding(violated.name, violated.sentence, seed, nodes, trace, short, len(steps), scenario, clients=clients)


def of_seed(scenario: Scenario, seed: int) -> Finding:
    """What a failed seed shows: its run, shrunk."""
    world, plan = swarm.run(scenario, seed)
    try:
        with guard.watching(world.hosts.values()):
            found = shrink.shrink(scenario, world, plan.nodes)
        if found is None and world.calmed_after is not None:
            return _short_prefix(scenario, seed, world, plan)
        return _finding(scenario, seed, plan.nodes, world, found)
    finally:
        world.discard()


def _short_prefix(scenario: Scenario, seed: int, world: World, plan: swarm.Plan) -> Finding:
    """When nothing good happens in a calm network: as few events as possible before the calm, and none of those after.

    Such a run cannot be repeated without time. So short ones are tried until one fails alike.
    """
    name, before = world.violation.name, world.events
    for length in PREFIXES:
        for other in range(seed, seed + PREFIX_SEEDS):
            if not swarm.draw(scenario, other).calm_at_end:
                continue
            short, drawn = swarm.run(scenario, other, length)
            violated, calm = short.violation, short.calmed_after
            if violated is not None and violated.name == name and calm is not None:
                found = _finding(scenario, other, drawn.nodes, short, None)
                found.trace, found.events_before = Trace(short.hosts, _until_calm(short), other), before
                short.discard()
                return found
            short.discard()
    found = _finding(scenario, seed, plan.nodes, world, None)
    found.trace = Trace(world.hosts, _until_calm(world), seed)
    return found


def _until_calm(world: World) -> list[tuple]:
    """The records up to the calm, what came after in one line, and the violation."""
    records, at = world._records, world.calmed_after
    left_out = (records[-1][0], "note", "", ("calm", {"events_left_out": len(records) - at - 1}))
    return [*records[:at], left_out, records[-1]]


def _finding(scenario, seed, nodes, world, found) -> Finding:
    violated = found.violated if found else world.violation
    trace, steps = (found.trace, found.steps) if found else (world.trace, [])
    return Finding(violated.name, violated.sentence, seed, nodes, trace, steps, world.events, scenario)
