"""Exhaustive search: every order of events of a small cluster, breadth first, so that the first find is the shortest.

Coroutines cannot be copied, so a state is kept as the steps that lead to it and is made again by taking them; at the
depths that matter this is as fast as copying. States are compared by their text (`labsupport.sim.state`).

Events of different nodes can change places unless one has sent the message of the other, so only one order of each such
pair is tried. What a node does on its own, a timer or a crash, comes right after the event before it on that node; of
two deliveries that were both possible, the one to the earlier name comes first. Every state is still visited, on a path
of the same length.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque

from labsupport.errors import LearnerError
from labsupport.sim import guard, state
from labsupport.sim.properties import Violated
from labsupport.sim.scenario import Scenario
from labsupport.sim.steps import Step, Steps

CHECK_EVERY = 50  # one in so many states is made twice and compared


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far an exhaustive search goes.

    Args:
        states: how many different states it visits at most.
        depth: how many steps a run has at most.
        timers, crashes, duplicates, timeouts: how many of those a run has at most. A node that crashes is started
            again at once; a timeout is a request given up.
        clients: whether the clients take part.
    """

    states: int = 20_000
    depth: int = 12
    timers: int = 3
    crashes: int = 0
    duplicates: int = 0
    timeouts: int = 0
    clients: bool = False


# From the cheapest to the widest: nearly every mistake in an election needs two timers, some a third, some a crash.
LADDER = (
    Limits(timers=2, states=1_000),
    Limits(timers=2, crashes=1, states=5_000),
    Limits(timers=3, states=6_000),
    Limits(timers=2, duplicates=1),
    Limits(timers=3, crashes=1),
)


@dataclasses.dataclass
class Searched:
    """What an exhaustive search has shown.

    ``complete`` says that there is nothing left within the limits of depth and faults.
    """

    states: int = 0
    events: int = 0
    depth: int = 0
    complete: bool = False
    reached: Counter = dataclasses.field(default_factory=Counter)
    steps: list[Step] | None = None
    violated: Violated | None = None


@dataclasses.dataclass(frozen=True)
class _State:
    steps: tuple[Step, ...]
    hosts: tuple[str, ...]
    choices: tuple[Step, ...]


def climb(scenario: Scenario, nodes: int = 3, seed: int = 0, states: int = 20_000) -> Searched:
    """Search within wider and wider limits, so many states in all, until a property is violated."""
    whole = Searched(complete=True)
    for limits in LADDER:
        left = states - whole.states
        if left <= 0:
            whole.complete = False
            break
        part = search(scenario, nodes, seed, dataclasses.replace(limits, states=min(left, limits.states)))
        whole.states, whole.events = whole.states + part.states, whole.events + part.events
        whole.depth = max(whole.depth, part.depth)
        whole.complete = whole.complete and part.complete
        whole.reached.update(part.reached)
        if part.violated is not None:
            whole.steps, whole.violated = part.steps, part.violated
            break
    return whole


def search(scenario: Scenario, nodes: int = 3, seed: int = 0, limits: Limits | None = None) -> Searched:
    """Visit every state of a small cluster, nearest first, until a property is violated.

    Raises:
        LearnerError: the same steps have led to two different states.
    """
    limits = limits or Limits()
    found = Searched()
    world = scenario.steps(seed, nodes, limits.clients)
    with guard.watching(world.hosts.values()):
        if world.violation is not None:
            return dataclasses.replace(found, steps=[], violated=world.violation)
        first = _state(world, (), None, limits, "")
        seen, waiting = {_key(world, first)}, deque([first])
        world.discard()
        while waiting and found.violated is None and len(seen) < limits.states:
            here = waiting.popleft()
            found.depth = len(here.steps) + 1
            for step in here.choices:
                _visit(scenario, nodes, seed, limits, here, step, found, seen, waiting)
                if found.violated is not None or len(seen) >= limits.states:
                    break
    found.states = len(seen)
    found.complete = not waiting and found.violated is None
    return found


def _visit(scenario, nodes, seed, limits, here, step, found, seen, waiting) -> None:
    """Take one more step from a state."""
    world = scenario.steps(seed, nodes, limits.clients)
    for earlier in here.steps:
        _take(world, earlier)
    if found.events % CHECK_EVERY == 0:
        _compare(world, here)
    before = len(world._records)
    if not _take(world, step):
        raise _differs(step, here)
    found.events += 1
    for record in world._records[before:]:
        if record[1] == "note" and record[3][0] in scenario.sometimes:
            found.reached[record[3][0]] += 1
    steps = (*here.steps, step)
    if step.kind == "crash" and world.violation is None:
        steps = (*steps, Step("restart", step.node))
        world.do(steps[-1])
    _forget_late_answers(world)
    if world.violation is not None:
        found.steps, found.violated = list(steps), world.violation
    else:
        after = _state(world, steps, here, limits, step.node)
        key = _key(world, after)
        if key not in seen:
            seen.add(key)
            if len(steps) < limits.depth:
                waiting.append(after)
    world.discard()


def _take(world: Steps, step: Step) -> bool:
    """Take a step; remember which messages were there before a delivery."""
    if step.kind == "deliver":
        world.before_delivery = world._number
    return world.do(step)


def _forget_late_answers(world: Steps) -> None:
    """Answers that nobody waits for any more would only make equal states look different."""
    for number, envelope in list(world.pending.items()):
        if envelope[6] is not None and envelope[6] not in world.hosts[envelope[2]].waits:
            del world.pending[number]


def _state(world: Steps, steps: tuple[Step, ...], parent: _State | None, limits: Limits, changed: str) -> _State:
    old = parent.hosts if parent else ("",) * len(world.hosts)
    hosts = tuple(
        state.of_host(host) if parent is None or host.name == changed else text
        for host, text in zip(world.hosts.values(), old, strict=True)
    )
    return _State(steps, hosts, tuple(_choices(world, steps, limits)))


def _key(world: Steps, here: _State) -> tuple:
    names = list(world.hosts)
    way = sorted(
        f"{e[1]}>{e[2]} {e[3].wire_type}{e[4]!r} {e[5]} {e[6]} {_too_late(world, e, here.steps, names)}"
        for e in world.pending.values()
    )
    spent = Counter(_cost(step) for step in here.steps)
    costs = [spent[cost] for cost in ("timer", "crash", "duplicate", "timeout")]
    return (here.hosts, tuple(way), *costs, *_turn_of(here.steps))


def _its_turn(name: str, steps: tuple[Step, ...], names: list[str]) -> bool:
    """Whether a node may do something on its own now: right after an event of its own, or in the beginning."""
    last, beginning = _turn_of(steps)
    return not last or name == last or (beginning and names.index(name) > names.index(last))


def _too_late(world: Steps, envelope: tuple, steps: tuple[Step, ...], names: list[str]) -> bool:
    """Whether a delivery could as well have come before the last one, and the path with that order is tried anyway."""
    last, beginning = _turn_of(steps)
    return not beginning and envelope[0] <= world.before_delivery and names.index(envelope[2]) < names.index(last)


def _turn_of(steps: tuple[Step, ...]) -> tuple[str, bool]:
    """Who may do something on its own now: the node of the last step; in the beginning, also those after it."""
    return (steps[-1].node if steps else "", all(step.kind != "deliver" for step in steps))


def _cost(step: Step) -> str:
    return "duplicate" if step.again else step.kind


def _choices(world: Steps, steps: tuple[Step, ...], limits: Limits) -> list[Step]:
    """What can happen next, each thing once."""
    spent = Counter(_cost(step) for step in steps)
    found: dict[tuple, Step] = {}
    names = list(world.hosts)
    for again, envelopes in ((False, world.pending), (True, world.delivered)):
        if again and spent["duplicate"] >= limits.duplicates:
            continue
        for number, source, dest, kind, parts, msg_id, in_reply_to in envelopes.values():
            if again and in_reply_to is not None:
                continue  # a second answer to a request changes nothing
            if not again and _too_late(world, envelopes[number], steps, names):
                continue
            step = Step("deliver", dest, (source, kind.wire_type, parts), again=again, number=number)
            found.setdefault((source, dest, kind.wire_type, repr(parts), msg_id, in_reply_to, again), step)

    def add(step: Step) -> None:
        found.setdefault((step.kind, step.node, step.detail), step)

    for name, host in world.hosts.items():
        if not host.client and not _its_turn(name, steps, names):  # of clients, the order in real time counts
            continue
        for timer in host.timers if spent["timer"] < limits.timers else ():
            add(Step("timer", name, timer))
        for wait in host.waits.values():
            if not wait.dest:
                add(Step("wake", name))
            elif spent["timeout"] < limits.timeouts:
                add(Step("timeout", name, (wait.dest, wait.what)))
        if spent["crash"] < limits.crashes and not host.client:
            add(Step("crash", name))
    return list(found.values())


def _compare(world: Steps, here: _State) -> None:
    for host, text in zip(world.hosts.values(), here.hosts, strict=True):
        now = state.of_host(host)
        if now != text:
            raise LearnerError(
                f"The same {len(here.steps)} steps have led {host.name} to two different states.",
                cause=f"once: {text[:200]}\nthen: {now[:200]}",
                do="look for sets that are walked through unsorted, values kept outside the node (globals, class "
                "attributes, default arguments), and anything drawn from outside ctx.random",
            )


def _differs(step: Step, here: _State) -> LearnerError:
    return LearnerError(
        f"After the same {len(here.steps)} steps, {step.node} could once go on with {step.kind} {step.detail or ''} "
        "and now it cannot.",
        cause="the node's behaviour depends on something that is not in the node",
        do="look for globals, class attributes and default arguments that change, and for unsorted sets",
    )
