"""Checks of exercises whose answer is a Node class: cases, run over many seeds in the simulated world.

For authors of lessons. The learner's class never runs in the check's process: a child holds it, and in the judge's
world a stand-in does what the child says. What you write is the same as for a class at hand:

    class CountedOnce(Wire):                      # must hold after every event; fresh for each run
        def saw(self, event):                     # every event on the wire, in order; return "" or what is wrong
            if event.kind == "deliver" and event.label == "pong": ...
            return ""

    class Answered(Eventually):                   # must come true once the faults are over; asked at the end
        def missing(self, world):                 # "" or a sentence: what has not happened
            return ""

    LOSSY = Case(
        "lost messages",                          # its name in evidence and in replay(...)
        nodes={"pinger": "Pinger", "ponger": Ponger},   # text: the learner's class; else a class of the lesson;
                                                        # a number: so many of the learner's (first) class, n1, n2 ...
        faults=lambda draw: Faults(loss=draw.choice([0.1, 0.3])),   # or a Faults; drawn from the seed
        clients={"c1": Reader},                   # lesson classes that faults do not touch, see ClientContext
        properties={CountedOnce: "counts_every_pong", Answered: "never_resends"},   # and the misconception of each;
                                                        # a list, when they say it themselves with self.blame
        until_s=5, calm_s=5,                      # so long with faults, then so long without
        runs=20,                                  # seeds to try; five times as many in grading
    )

    def check_pinging(answer, run):
        with Nodes(answer) as nodes:
            nodes.hold(run, LOSSY)                # rejects with the shrunk trace, or returns how many events it took
            world = nodes.run(LOSSY, seed=3)      # one run, to look at its trace yourself
        return "..."

    Exercise(..., cases=(LOSSY, ...))             # lets the learner write replay("00.2", Pinger, case=..., seed=...)

For a search as `labsupport.explore` makes it, with another mixture of faults for each seed, give ``faults=mixture``.

Order the cases so that the most specific diagnosis comes first. Judge by what is sent and delivered; a note
(`ctx.note`) is only what the learner's node says of itself. A handler's exception, an endless loop, something shared
between nodes, a misuse of ctx and NotImplementedError need nothing from you. Safety properties must hold at every
moment, also when the run is cut short: the shrinker leaves out events. What must happen in the end goes into
`Eventually`, whose runs are shown whole, the shortest one found; keep such cases small. Message classes of a lesson
module are made with ``@message`` there; a field that your own nodes read and the learner's message lacks is rejected.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from labsupport.errors import LabError
from labsupport.exercises.checking import Run
from labsupport.exercises.standins import Raised, Session
from labsupport.faults import Faults
from labsupport.messages import packed_body
from labsupport.node import Node
from labsupport.sim import shrink, swarm
from labsupport.sim.core import SECOND, Core
from labsupport.sim.properties import Property, Violated
from labsupport.sim.scenario import Scenario
from labsupport.sim.world import World
from labsupport.spacetime import drawn
from labsupport.trace import Trace

IN_GRADING = 5  # times as many runs
SHRINKING = 60_000  # events that looking for a shorter run may take: some seconds
ALIKE = 4  # more failed runs to look for when the first one does not shrink: the shortest is shown
FIRST_LINES, LAST_LINES = 26, 12  # of a trace in the evidence, when it is long
STORM = "Storm"
CALM = Faults()


def mixture(draw: random.Random) -> Faults:
    """Faults for `Case`: whatever can go wrong, mixed as the guided random search mixes it."""
    return swarm.draw(Scenario(Node, (1,)), draw.randrange(10**9)).faults


class Seen(NamedTuple):
    """One event, as `Wire.saw` gets it; the fields are those of `labsupport.trace.Event`."""

    at_s: float
    kind: str
    node: str
    peer: str = ""
    label: str = ""
    body: dict[str, Any] | None = None
    message: int | None = None


class Wire(Property):
    """A property of what can be seen from outside: messages, timers, crashes, notes, in their order."""

    blamed = ""

    def __init__(self) -> None:
        self._next = 0

    @property
    def name(self) -> str:
        return self.blamed or type(self).__name__

    def blame(self, misconception: str, sentence: str) -> str:
        """Return a sentence from `saw` or `missing`, and name the misconception that it shows."""
        self.blamed = misconception
        return sentence

    def saw(self, event: Seen) -> str:
        """Called with every event; "" or what is wrong."""
        return ""

    def after(self, world: Core, name: str, node: Node | None) -> str:
        records = world._records
        while self._next < len(records):
            self._next += 1
            complaint = self.saw(_seen(records[self._next - 1]))
            if complaint:
                return complaint
        return ""

    def at_end(self, world: Core) -> str:
        return self.after(world, "", None)


def _seen(record: tuple) -> Seen:
    at, kind, node, detail = record
    if kind in ("send", "deliver", "lose"):
        number, source, dest, message, parts, msg_id, in_reply_to = detail[0] if kind == "lose" else detail
        full = packed_body(message, parts, msg_id, in_reply_to)
        return Seen(at / SECOND, kind, node, dest if kind == "send" else source, message.wire_type, full, number)
    if kind == "note":
        return Seen(at / SECOND, kind, node, label=detail[0], body=detail[1])
    return Seen(at / SECOND, kind, node, label=detail if isinstance(detail, str) else "")


class Eventually(Wire):
    """Something that must have happened by the end of a run whose faults are over."""

    calm = False

    def calmed(self, world: Core) -> None:
        self.calm = True

    def missing(self, world: Core) -> str:
        """ "" or what has not happened."""
        return ""

    def at_end(self, world: Core) -> str:
        return super().at_end(world) or (self.missing(world) if self.calm else "")


@dataclasses.dataclass(frozen=True)
class Case:
    """One situation that an answer must come through, in many runs; see this module's text for the arguments.

    Args:
        name: a few words.
        nodes: how many, or which class under which name.
        properties: what must hold, with the misconception that each violation shows ("" for none), or a list of
            properties that name it themselves (`Wire.blame`).
        clients: by name.
        faults: what goes wrong, or a function that draws it.
        until_s: how long each run lasts, in the world's seconds.
        calm_s: how long it then goes on without faults; 0 leaves that out, and `Eventually` is not asked.
        runs: how many seeds.
        most_events: more than this is a storm of messages.
        storm: the misconception of a storm.
        shared: the misconception of nodes that share state.
        raises: the misconceptions of exceptions, by their name, such as "KeyError".
    """

    name: str
    nodes: int | Mapping[str, str | type[Node]]
    properties: Mapping[type[Property], str] | Sequence[type[Property]]
    clients: Mapping[str, type[Node]] = dataclasses.field(default_factory=dict)
    faults: Faults | Callable[[random.Random], Faults] = CALM
    until_s: float = 10.0
    calm_s: float = 0.0
    runs: int = 10
    most_events: int = 20_000
    storm: str = ""
    shared: str = ""
    raises: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def scenario(self, kinds: Mapping[str, type[Node]]) -> Scenario:
        """The cluster of this case, with these classes as the learner's."""
        first = next(iter(kinds))
        nodes = self.nodes
        if isinstance(nodes, int):
            nodes = {f"n{number}": first for number in range(1, nodes + 1)}
        chosen = {name: kinds[kind] if isinstance(kind, str) else kind for name, kind in nodes.items()}
        return Scenario(chosen, (len(chosen),), self.clients, tuple(self.properties))

    def run(self, kinds: Mapping[str, type[Node]], seed: int) -> World:
        """One run, to its end or to the first violation.

        Args:
            kinds: the learner's classes by the names that the exercise takes.
            seed: what all chance is drawn from.
        """
        faults = self.faults if isinstance(self.faults, Faults) else self.faults(random.Random(f"{seed}/{self.name}"))
        scenario = self.scenario(kinds)
        world = scenario.world(seed, len(scenario.kind), faults)
        world.advance(self.until_s, max_events=self.most_events)
        if self.calm_s and world.violation is None and world.events < self.most_events:
            world.calm()
            world.advance(world.now_s + self.calm_s, max_events=self.most_events - world.events)
        if world.violation is None and world.events >= self.most_events:
            storm = f"after {world.now_s:.1f} seconds there have been {world.events:,} events, and it goes on"
            world._end(Violated(STORM, storm))
        if world.violation is None:
            world._acting = None  # what is missing in the end is missing at no node
            world.finish()
        return world

    def misconception(self, violated: Violated) -> str:
        """Which of the exercise's misconceptions a violation shows."""
        named = {STORM: self.storm, **self.raises}
        if isinstance(self.properties, Mapping):
            named.update((kind.__name__, name) for kind, name in self.properties.items())
        said = violated.name if violated.name.islower() else ""  # by `Wire.blame`; classes begin with a capital
        return named.get(violated.name.split()[0], said)


class Nodes(Session):
    """A learner's node classes, for the time of a check; use it as a context manager."""

    def run(self, case: Case, seed: int) -> World:
        """One run of a case; its `violation` says whether something went wrong."""
        return case.run(self.kinds, seed)

    def hold(self, run: Run, case: Case) -> str:
        """Run a case on seeds drawn from the check's, and reject the answer if something does not hold.

        Returns:
            How much was tried, as a sentence part.
        """
        events, runs = 0, case.runs * (IN_GRADING if run.full else 1)
        first = run.random.randrange(1_000_000)
        for seed in range(first, first + runs):
            world = self.run(case, seed)
            events += world.events
            if world.violation is not None:
                self._refuse_shared(run, case)
                self._reject(run, case, seed, world)
            world.discard()
        self._refuse_shared(run, case)
        return f"{runs} runs with {events:,} events"

    def _refuse_shared(self, run: Run, case: Case) -> None:
        shared = self.shared()
        if shared is not None:
            run.reject(case.shared, shared.what, expected=shared.do, got=shared.cause, evidence=[shared.what])

    def _reject(self, run: Run, case: Case, seed: int, world: World) -> None:
        if not isinstance(world.violation.error, (LabError, Raised, type(None))):
            raise world.violation.error  # of a client or a property: a bug of the course
        violated, trace, seed = self._shortest(case, seed, world)
        call = f"{run.exercise.call.replace('check(', 'replay(')[:-1]}, case={case.name!r}, seed={seed})"
        run.reject(
            case.misconception(violated),
            violated.sentence,
            evidence=[*_told(violated.error), *_picture(trace)],
            trace=trace,
            again=call,
            **_sides(violated),
        )

    def _shortest(self, case: Case, seed: int, world: World) -> tuple[Violated, Trace, int]:
        """The violation with the shortest trace that shows it: shrunk, or else of a few seeds the shortest."""
        if world.violation.name == STORM:
            return world.violation, Trace(world.hosts, world.trace.records[: FIRST_LINES + LAST_LINES], seed), seed
        scenario = case.scenario(self.kinds)
        found = shrink.shrink(scenario, world, len(scenario.kind), SHRINKING)
        if found is not None:
            return found.violated, found.trace, seed
        best = (world.violation, world.trace, seed)
        for other in range(seed + 1, seed + 1 + ALIKE):
            again = self.run(case, other)
            alike = again.violation is not None and again.violation.name == best[0].name
            if alike and len(again.trace) < len(best[1]):
                best = (again.violation, again.trace, other)
        return best


def _picture(trace: Trace) -> list[str]:
    """The trace as a space-time diagram, the middle of a long one left out."""
    lines = drawn(trace, lines=len(trace)).splitlines()
    left_out = len(lines) - 1 - FIRST_LINES - LAST_LINES
    if left_out <= 1:
        return lines
    return [*lines[: FIRST_LINES + 1], f"          ... {left_out} events are not shown ...", *lines[-LAST_LINES:]]


def _told(error: BaseException | None) -> Iterator[str]:
    """An exception's lines."""
    if isinstance(error, Raised):
        yield from error.failure.lines
    elif isinstance(error, LabError):
        yield from str(error).splitlines()


def _sides(violated: Violated) -> dict[str, str]:
    if isinstance(violated.error, LabError):
        return {"expected": violated.error.do, "got": violated.error.cause}
    if violated.error is not None:
        return {"expected": "no exception", "got": violated.sentence}
    return {}
