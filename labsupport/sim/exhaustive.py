"""Exhaustive search: every order of events of a small cluster, nearest first.

Coroutines cannot be copied, so a state is kept as the steps that lead to it and is made again by taking them; at the
depths that matter this is as fast as copying. States are compared by their text (`labsupport.sim.state`).

Two things decide what comes first. What goes wrong in small clusters needs few timers and crashes, so everything within
a narrow limit comes before what a wider one allows (`LADDER`). And nodes of one class mostly differ only in their
names: of the states that look alike once the names are blotted out, the first is gone on from at once, and the others
wait until nothing else is left. So mistakes show several times sooner, and a node that looks at its name is found out
all the same.

Steps of different nodes can change places when no property hears of either, so only one order of each such pair is
taken ("sleep sets", Godefroid 1996). Every state is visited all the same.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections import Counter, deque
from collections.abc import Callable, Sequence

from labsupport.errors import LearnerError
from labsupport.sim import guard, state
from labsupport.sim.properties import Violated
from labsupport.sim.scenario import Scenario
from labsupport.sim.steps import Step, Steps

CHECK_EVERY = 20  # one in so many states is looked at again after it has been made once more


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far an exhaustive search goes.

    Args:
        states: how many different states it visits at most before it turns to the next limits.
        depth: how many steps a run has at most.
        timers, crashes, duplicates, timeouts: how many of those a run has at most. A node that crashes is started
            again at once; a timeout is a request given up.
        clients: whether the clients take part.
        only: the nodes and clients that take part, when not all; nothing happens at the others, and nothing arrives.
    """

    states: int = 20_000
    depth: int = 12
    timers: int = 3
    crashes: int = 0
    duplicates: int = 0
    timeouts: int = 0
    clients: bool = False
    only: tuple[str, ...] = ()


_SPENT = ("timer", "crash", "duplicate", "timeout")


# From the narrowest to the widest: nearly every mistake in an election needs two timers, some a crash, some a third.
LADDER = (
    Limits(timers=2, states=250),
    Limits(timers=2, crashes=1, states=1_300),
    Limits(timers=3, states=2_000),
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
    spent: tuple[int, ...]  # timers, crashes, duplicates, timeouts
    hosts: tuple[str, ...]  # the text of each
    faces: tuple[str, ...]  # the same without names
    known: str  # what the properties remember
    asleep: frozenset[tuple]  # steps that need not be taken from here: they have been taken before the last one


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


def search(
    scenario: Scenario,
    nodes: int = 3,
    seed: int = 0,
    limits: Limits | None = None,
    *,
    begun: Sequence[Step] = (),
    goal: Callable[[Steps], bool] | None = None,
) -> Searched:
    """Visit every state of a small cluster, nearest first, until a property is violated.

    Args:
        scenario: what to search.
        nodes: how many there are.
        seed: what the nodes' own chance is drawn from.
        limits: how far to go.
        begun: the steps that all runs have in common; what they have sent and not delivered is lost.
        goal: also stop at the first state for which this holds; `Searched.steps` then leads to it.

    Raises:
        LearnerError: the same steps have led to two different states.
    """
    return _Search(scenario, nodes, seed, limits or Limits(), begun, goal).run()


class _Search:
    def __init__(self, scenario, nodes, seed, limits, begun, goal) -> None:
        self.scenario, self.nodes, self.seed, self.limits = scenario, nodes, seed, limits
        self.begun, self.goal = tuple(begun), goal
        self.most = (limits.timers, limits.crashes, limits.duplicates, limits.timeouts)
        self.seen: dict[tuple, list[_State]] = {}
        self.families: set[tuple] = set()
        self.fresh: deque[_State] = deque()
        self.alike: deque[_State] = deque()
        self.expanded = 0
        self.found = Searched()

    def run(self) -> Searched:
        """Go on until something is found, nothing is left, or the states are used up."""
        found, world = self.found, self.world(())
        with guard.watching(world.hosts.values()):
            self.sent_before = world._number if self.begun else 0
            if world.violation is not None:
                return dataclasses.replace(found, steps=list(self.begun), violated=world.violation)
            self.add(world, self.state(world, (), None, "", True, frozenset()))
            world.discard()
            while found.steps is None and found.states < self.limits.states and (self.fresh or self.alike):
                self.expand((self.fresh or self.alike).popleft())
        found.complete = found.steps is None and not (self.fresh or self.alike)
        return found

    def world(self, steps: Sequence[Step]) -> Steps:
        world = self.scenario.steps(self.seed, self.nodes, self.limits.clients)
        for step in (*self.begun, *steps):
            world.do(step)
        return world

    def expand(self, here: _State) -> None:
        """Take every step that is possible in a state, each from there."""
        world = self.world(here.steps)
        if self.expanded % CHECK_EVERY == 0:
            _compare(world, here)
        self.expanded += 1
        taken: list[tuple] = list(here.asleep)
        for name, step in self.choices(world, here.spent).items():
            if name in here.asleep:
                continue
            world = world or self.world(here.steps)
            if self.visit(world, here, step, taken):
                taken.append(name)
            world = None
            if self.found.steps is not None or self.found.states >= self.limits.states:
                return

    def visit(self, world: Steps, here: _State, step: Step, taken: list[tuple]) -> bool:
        """Take one more step from a state; whether no property heard of it, so that its place in time is no matter."""
        found, before = self.found, len(world._records)
        if not world.do(step):
            raise _differs(step, here)
        steps = (step,)
        if step.kind == "crash" and world.violation is None:
            steps = (step, Step("restart", step.node))
            world.do(steps[-1])
        _forget_late_answers(world)
        found.events += 1
        found.depth = max(found.depth, len(here.steps) + 1)
        heard = [record[3][0] if record[1] == "note" else record[1] for record in world._records[before:]]
        found.reached.update(what for what in heard if what in self.scenario.sometimes)
        quiet = not world.hosts[step.node].client and world._hearing.keys().isdisjoint(heard)
        steps = (*here.steps, *steps)
        if world.violation is not None or (self.goal is not None and self.goal(world)):
            found.steps, found.violated = [*self.begun, *steps], world.violation
        else:
            asleep = _elsewhere(taken, step.node) if quiet else frozenset()
            self.add(world, self.state(world, steps, here, step.node, not quiet, asleep))
        world.discard()
        return quiet

    def add(self, world: Steps, new: _State) -> None:
        """Note a state that has not been seen yet, and put it where its turn will come."""
        way = sorted((e[1], e[2], e[3].wire_type, repr(e[4]), e[5] or 0, e[6] or 0) for e in self.under_way(world))
        known = self.seen.setdefault((new.hosts, new.known, tuple(way)), [])
        if any(old.asleep <= new.asleep and all(map(operator.le, old.spent, new.spent)) for old in known):
            return  # it has been reached with less
        known.append(new)
        self.found.states += 1
        if len(new.steps) < self.limits.depth:
            family = (self.family(world, new), new.spent)
            (self.alike if family in self.families else self.fresh).append(new)
            self.families.add(family)

    def family(self, world: Steps, new: _State) -> tuple:
        """What is left of a state without the names: each node with the messages on their way to it."""
        faces = dict(zip(world.hosts, new.faces, strict=True))
        coming: dict[str, list[tuple]] = {name: [] for name in faces}
        for _, source, dest, kind, parts, _, answered in self.under_way(world):
            coming[dest].append((faces[source], kind.wire_type, _nameless(repr(parts), dest), answered is None))
        return tuple(sorted((face, *sorted(coming[name])) for name, face in faces.items()))

    def state(self, world: Steps, steps: tuple[Step, ...], parent, changed: str, heard: bool, asleep) -> _State:
        blank = [""] * len(world.hosts)
        hosts, faces = (list(parent.hosts), list(parent.faces)) if parent else (blank, blank.copy())
        for place, host in enumerate(world.hosts.values()):
            if parent is None or host.name == changed:
                hosts[place] = state.of_host(host)
                faces[place] = _nameless(hosts[place], host.name)
        known = state.told([vars(one) for one in world.properties]) if heard else parent.known
        costs = list(map(_cost, steps))
        return _State(steps, tuple(map(costs.count, _SPENT)), tuple(hosts), tuple(faces), known, asleep)

    def under_way(self, world: Steps) -> list[tuple]:
        return [envelope for number, envelope in world.pending.items() if number > self.sent_before]

    def choices(self, world: Steps, spent: tuple[int, ...]) -> dict[tuple, Step]:
        """What can happen next, each thing once; each under a name that it keeps when others happen before it."""
        found: dict[tuple, Step] = {}
        left = dict(zip(_SPENT, map(operator.lt, spent, self.most), strict=True))

        def add(step: Step, cost: str = "", detail: object = None) -> None:
            if left.get(cost, True) and (not self.limits.only or step.node in self.limits.only):
                found.setdefault((cost, step.node, detail or step.detail), step)

        there: set[tuple] = set()
        for again, envelopes in ((False, world.pending), (True, world.delivered)):
            for number, source, dest, kind, parts, msg_id, answered in envelopes.values():
                content = (source, dest, kind.wire_type, repr(parts), msg_id, answered, again)
                if number <= self.sent_before or content in there or (again and answered is not None):
                    continue  # a second answer to a request changes nothing
                there.add(content)
                step = Step("deliver", dest, (source, kind.wire_type, parts), again=again, number=number)
                add(step, "duplicate" if again else "", number)
        for name, host in world.hosts.items():
            for timer in host.timers:
                add(Step("timer", name, timer), "timer")
            for wait in host.waits.values():
                if wait.dest:
                    add(Step("timeout", name, (wait.dest, wait.what)), "timeout")
                else:
                    add(Step("wake", name))
            if not host.client:
                add(Step("crash", name), "crash")
        return found


def _elsewhere(taken: list[tuple], node: str) -> frozenset[tuple]:
    """The steps at other nodes: to take them after a step of this one leads where the other order has led."""
    return frozenset(name for name in taken if name[1] != node)


_NAME = re.compile(r"\b[nc]\d+\b")


def _nameless(text: str, me: str) -> str:
    return _NAME.sub(lambda name: "me" if name[0] == me else "?", text)


def _cost(step: Step) -> str:
    return "duplicate" if step.again else step.kind


def _forget_late_answers(world: Steps) -> None:
    """Answers that nobody waits for any more would only make equal states look different."""
    for number, envelope in list(world.pending.items()):
        if envelope[6] is not None and envelope[6] not in world.hosts[envelope[2]].waits:
            del world.pending[number]


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
