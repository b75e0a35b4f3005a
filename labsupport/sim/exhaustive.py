"""Exhaustive search: every order of events of a small cluster, nearest first.

Coroutines cannot be copied, so a state is kept as the lives of its nodes (`labsupport.sim.lives`), the messages under
way, and the steps that lead to it. A world in which all these steps are taken is made only where somebody looks at the
whole: a property that hears of a step, or a goal. States are compared by their text (`labsupport.sim.state`).

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
import itertools
import operator
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from labsupport.errors import LearnerError
from labsupport.sim import guard, state
from labsupport.sim.lives import Life, Lives, Outcome, heard_in, nameless
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
    lives: dict[str, Life]
    pending: tuple[tuple, ...]  # the messages under way, oldest first
    delivered: tuple[tuple, ...]
    sent: int  # the number of the last message
    known: str  # what the properties remember
    asleep: frozenset[tuple]  # steps that need not be taken from here: they have been taken before the last one

    @property
    def hosts(self) -> tuple[str, ...]:
        """The text of each node."""
        return tuple([life.text for life in self.lives.values()])


def climb(scenario: Scenario, nodes: int = 3, seed: int = 0, states: int = 20_000) -> Searched:
    """Search within wider and wider limits, so many states in all, until a property is violated."""
    whole, lives = Searched(complete=True), Lives(scenario.steps(seed, nodes, clients=False))
    for limits in LADDER:
        left = states - whole.states
        if left <= 0:
            whole.complete = False
            break
        limits = dataclasses.replace(limits, states=min(left, limits.states))
        part = _Search(scenario, nodes, seed, limits, (), None, lives).run()
        whole.states, whole.events = whole.states + part.states, whole.events + part.events
        whole.depth = max(whole.depth, part.depth)
        whole.complete = whole.complete and part.complete
        whole.reached.update(part.reached)
        if part.violated is not None:
            whole.steps, whole.violated = part.steps, part.violated
            break
    lives.discard()
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
    limits = limits or Limits()
    lives = Lives(scenario.steps(seed, nodes, limits.clients))
    found = _Search(scenario, nodes, seed, limits, begun, goal, lives).run()
    lives.discard()
    return found


class _Search:
    def __init__(self, scenario, nodes, seed, limits, begun, goal, lives: Lives) -> None:
        self.scenario, self.nodes, self.seed, self.limits = scenario, nodes, seed, limits
        self.begun, self.goal, self.lives = tuple(begun), goal, lives
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
            if world.violation is not None:
                return dataclasses.replace(found, steps=list(self.begun), violated=world.violation)
            self.hearing, self.watched = world._hearing.keys(), bool(world._watching) or self.goal is not None
            self.add(self.first(world))
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

    def first(self, world: Steps) -> _State:
        """Where the search begins: what was sent on the way there and not delivered is lost."""
        lived: dict[str, list] = {name: [] for name in world.hosts}
        for step in self.begun:
            lived[step.node].append((step, world.delivered.get(step.number)))
        lives = {
            name: Life.of(host, tuple(lived[name])) if lived[name] else self.lives.newborn(host)
            for name, host in world.hosts.items()
        }
        pending = () if self.begun else tuple(world.pending.values())
        known = state.told([vars(one) for one in world.properties])
        return self.state((), lives, pending, (), world._number, known, frozenset())

    def expand(self, here: _State) -> None:
        """Take every step that is possible in a state, each from there."""
        if self.expanded % CHECK_EVERY == 0:
            world = self.world(here.steps)
            _compare(world, here)
            world.discard()
        self.expanded += 1
        taken: list[tuple] = list(here.asleep)
        for name, (step, envelope) in self.choices(here).items():
            if name in here.asleep:
                continue
            if self.visit(here, step, envelope, taken):
                taken.append(name)
            if self.found.steps is not None or self.found.states >= self.limits.states:
                return

    def visit(self, here: _State, step: Step, envelope: tuple | None, taken: list[tuple]) -> bool:
        """Take one more step from a state; whether no property heard of it, so that its place in time is no matter."""
        steps = (step, Step("restart", step.node)) if step.kind == "crash" else (step,)
        self.found.events += 1
        self.found.depth = max(self.found.depth, len(here.steps) + 1)
        alone = not self.watched and step.node not in self.scenario.clients
        outcome = self.lives.outcome(here.lives[step.node], steps, envelope) if alone else None
        if outcome is None or not self.hearing.isdisjoint(outcome.heard):
            return self.witness(here, steps, envelope, outcome, taken)
        self.reach(outcome.heard)
        number = itertools.count(here.sent + 1)
        sent = [(next(number), *told[1:]) for told in outcome.sent]
        self.follow(here, steps, envelope, outcome.life, sent, here.known, _elsewhere(taken, step.node))
        return True

    def witness(self, here, steps, envelope, outcome: Outcome | None, taken: list[tuple]) -> bool:
        """Take steps in a world with all that has happened before, because there may be somebody who looks at it."""
        found, world = self.found, self.world(here.steps)
        before, sent = len(world._records), world._number
        if not world.do(steps[0]):
            raise _differs(steps[0], here)
        for step in steps[1:]:
            if world.violation is None:
                world.do(step)
        heard = heard_in(world._records[before:])
        self.reach(heard)
        host = world.hosts[steps[0].node]
        quiet = not host.client and self.hearing.isdisjoint(heard)
        if world.violation is not None or (self.goal is not None and self.goal(world)):
            found.steps, found.violated = [*self.begun, *here.steps, *steps], world.violation
        else:
            lived = (*here.lives[host.name].lived, *((step, envelope) for step in steps))
            life = outcome.life if outcome else Life.of(host, lived)
            new = [message for number, message in world.pending.items() if number > sent]
            known = here.known if quiet else state.told([vars(one) for one in world.properties])
            asleep = _elsewhere(taken, host.name) if quiet else frozenset()
            self.follow(here, steps, envelope, life, new, known, asleep)
        world.discard()
        return quiet

    def reach(self, heard: Iterable[str]) -> None:
        self.found.reached.update(what for what in heard if what in self.scenario.sometimes)

    def follow(self, here, steps, envelope, life, sent, known, asleep) -> None:
        """Note the state that follows when one node lives on."""
        lives = {**here.lives, life.name: life}
        pending = [one for one in (*here.pending, *sent) if one is not envelope and lives[one[2]].awaits(one)]
        arrived = () if envelope is None or envelope in here.delivered else (envelope,)
        steps, delivered = (*here.steps, *steps), (*here.delivered, *arrived)
        self.add(self.state(steps, lives, tuple(pending), delivered, here.sent + len(sent), known, asleep))

    def state(self, steps, lives, pending, delivered, sent, known, asleep) -> _State:
        costs = list(map(_cost, steps))
        return _State(steps, tuple(map(costs.count, _SPENT)), lives, pending, delivered, sent, known, asleep)

    def add(self, new: _State) -> None:
        """Note a state that has not been seen yet, and put it where its turn will come."""
        way = sorted([(e[1], e[2], e[3].wire_type, repr(e[4]), e[5] or 0, e[6] or 0) for e in new.pending])
        known = self.seen.setdefault((new.hosts, new.known, tuple(way)), [])
        if any(old.asleep <= new.asleep and all(map(operator.le, old.spent, new.spent)) for old in known):
            return  # it has been reached with less
        known.append(new)
        self.found.states += 1
        if len(new.steps) < self.limits.depth:
            family = (self.family(new), new.spent)
            (self.alike if family in self.families else self.fresh).append(new)
            self.families.add(family)

    def family(self, new: _State) -> tuple:
        """What is left of a state without the names: each node with the messages on their way to it."""
        coming: dict[str, list[tuple]] = {name: [] for name in new.lives}
        for _, source, dest, kind, parts, _, answered in new.pending:
            coming[dest].append((new.lives[source].face, kind.wire_type, nameless(repr(parts), dest), answered is None))
        return tuple(sorted([(life.face, *sorted(coming[name])) for name, life in new.lives.items()]))

    def choices(self, here: _State) -> dict[tuple, tuple[Step, tuple | None]]:
        """What can happen next, each thing once; each under a name that it keeps when others happen before it."""
        found: dict[tuple, tuple[Step, tuple | None]] = {}
        left = dict(zip(_SPENT, map(operator.lt, here.spent, self.most), strict=True))

        def add(step: Step, cost: str = "", envelope: tuple | None = None) -> None:
            if left.get(cost, True) and (not self.limits.only or step.node in self.limits.only):
                found.setdefault((cost, step.node, envelope[0] if envelope else step.detail), (step, envelope))

        there: set[tuple] = set()
        for again, envelopes in ((False, here.pending), (True, here.delivered)):
            for envelope in envelopes:
                number, source, dest, kind, parts, _, answered = envelope
                content = (source, dest, kind.wire_type, repr(parts), *envelope[5:], again)
                if content in there or (again and answered is not None):
                    continue  # a second answer to a request changes nothing
                there.add(content)
                step = Step("deliver", dest, (source, kind.wire_type, parts), again=again, number=number)
                add(step, "duplicate" if again else "", envelope)
        for name, life in here.lives.items():
            for timer in life.timers:
                add(Step("timer", name, timer), "timer")
            for _, dest, what in life.waits:
                add(*((Step("timeout", name, (dest, what)), "timeout") if dest else (Step("wake", name),)))
            if name not in self.scenario.clients:
                add(Step("crash", name), "crash")
        return found


def _elsewhere(taken: list[tuple], node: str) -> frozenset[tuple]:
    """The steps at other nodes: to take them after a step of this one leads where the other order has led."""
    return frozenset(name for name in taken if name[1] != node)


def _cost(step: Step) -> str:
    return "duplicate" if step.again else step.kind


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
