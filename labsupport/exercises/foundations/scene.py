"""What the checks of this lesson share: situations that are played with the learner's nodes, and what was sent there.

A situation is planned to the millisecond, and what is asked of it depends on its times. So nothing in it is shrunk; the
evidence is the part of its run that proves the point, drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from labsupport.errors import LabError
from labsupport.exercises.checking import Run
from labsupport.exercises.standins import Raised
from labsupport.exercises.worlds import Nodes
from labsupport.messages import Error, Message, RequestFailed, body, packed_body, text
from labsupport.node import Node
from labsupport.sim.world import World
from labsupport.spacetime import drawn
from labsupport.trace import Trace

MOST_EVENTS = 60_000  # in one run; a right answer needs a third of that at most
LINES = 28  # of a drawing in a verdict: what fits on a screen beside the rest
STIMULI = ("start", "restart", "deliver", "timer", "wake", "timeout")


class Play:
    """One run of a situation: it makes worlds of the learner's nodes, and rejects the answer with a drawing.

    Args:
        kinds: the learner's class, or its stand-in, by the name that the exercise gives it.
        seed: what the situation draws from.
        name: of the situation.
        run: the check; None when nobody judges and the run is only to be seen again.
    """

    def __init__(self, kinds: Mapping[str, type[Node]], seed: int, name: str, run: Run | None) -> None:
        self.kinds, self.seed, self.name, self.run = kinds, seed, name, run
        self.random = random.Random(f"{seed}/{name}")
        self.shown: World | None = None  # the world that the verdict speaks of; before that, the last one made

    def world(self, nodes: int, **options: Any) -> World:
        """A world of so many of the learner's nodes; the options are those of `World`."""
        (kind,) = self.kinds.values()
        self.shown = World(kind, nodes=nodes, seed=self.random.randrange(10**6), **options)
        return self.shown

    def advance(self, world: World, until_s: float, most_events: int = MOST_EVENTS) -> bool:
        """Let a world run; an exception of the learner's code ends the check.

        Returns:
            Whether it has come to that time; if not, there were more events than `most_events`.
        """
        before = world.events
        violated = world.advance(until_s, max_events=most_events)
        if violated is None:
            return world.events - before < most_events
        error = violated.error
        if not isinstance(error, (LabError, Raised)) and self.run is not None:
            raise error  # of a client: a bug of the course
        told = error.failure.lines if isinstance(error, Raised) else str(error).splitlines()
        who = world.trace[-1].node
        near = [name for name, host in world.hosts.items() if not host.client and name != who][:2]
        self.reject(
            "",
            violated.sentence,
            world,
            [*told, *excerpt(world, [who, *near, "c1"], world.now_s - 0.5)],
            expected=error.do if isinstance(error, LabError) else "no exception",
            got=error.cause if isinstance(error, LabError) else violated.sentence,
        )

    def to_the_end(self, world: World, until_s: float) -> None:
        """Let a world run, and refuse a storm of messages."""
        if not self.advance(world, until_s):
            self.reject(
                "",
                f"in {world.now_s:.2f} s there were {world.events:,} events, and there was no end to it",
                world,
                excerpt(world, list(world.hosts)[:4], first=True),
                expected="a few messages now and then",
                got="a storm: each message brings about more than one other",
            )

    def reject(self, name: str, summary: str, world: World, evidence: Sequence[str], **sides: object) -> NoReturn:
        """End the check: the answer is wrong, as this world has shown."""
        self.shown = world
        if self.run is None:
            raise _Seen
        call = self.run.exercise.call.replace("check(", "replay(")[:-1]
        again = f"see it again: {call}, case={self.name!r}, seed={self.seed})"
        self.run.reject(name, summary, evidence=[*evidence, again], **sides)


class _Seen(Exception):
    """The end of a run that nobody judges."""


@dataclasses.dataclass(frozen=True)
class Situation:
    """A situation by its name, and how it is played; `labsupport.replay` knows it by that name."""

    name: str
    play: Callable[[Play], None]

    def hold(self, nodes: Nodes, run: Run) -> None:
        """Play it with the learner's nodes, once or, in grading, three times."""
        for _ in range(3 if run.full else 1):
            self.play(Play(nodes.kinds, run.random.randrange(10**6), self.name, run))
        shared = nodes.shared()
        if shared is not None:
            run.reject("", shared.what, expected=shared.do, got=shared.cause, evidence=[shared.what])

    def run(self, kinds: Mapping[str, type[Node]], seed: int) -> World:
        """The world of one run, to be looked at."""
        play = Play(kinds, seed, self.name, None)
        with contextlib.suppress(_Seen):
            self.play(play)
        return play.shown


@dataclasses.dataclass
class Passed:
    """A message on its way, and its content: the body without msg_id and in_reply_to, as JSON."""

    at_s: float
    source: str
    dest: str
    text: str

    def carries(self, value: int) -> bool:
        """Whether a value is in it; values are numbers of six digits, which stand nowhere else."""
        return str(value) in self.text


@dataclasses.dataclass
class Sent(Passed):
    """A message that one of the learner's nodes sent to another, and what made the node send it.

    Args:
        cause: the kind of the event in whose handler it was sent, one of `STIMULI`.
        asker: who had sent the message that was being handled; "" if it was none.
    """

    cause: str
    asker: str


@dataclasses.dataclass
class Arrived(Passed):
    """A message that was handled, and whether its sender was sent something before the handler returned."""

    answered: bool = False


def names(count: int) -> list[str]:
    """n1, n2, ... as worlds call their nodes."""
    return [f"n{number}" for number in range(1, count + 1)]


def between_nodes(world: World) -> Iterator[Sent]:
    """Every message that one node sent to another, in order."""
    nodes = {name for name, host in world.hosts.items() if not host.client}
    stimulus: dict[str, tuple[str, str]] = {}
    for at, kind, node, detail in world.trace.records:
        if kind in STIMULI:
            stimulus[node] = (kind, detail[1] if kind == "deliver" else "")
        elif kind == "send" and detail[1] in nodes and detail[2] in nodes:
            yield Sent(at / 1e6, detail[1], detail[2], _content(detail), *stimulus[node])


def deliveries(world: World) -> list[Arrived]:
    """Every message that arrived, in order."""
    found: list[Arrived] = []
    handled: dict[str, Arrived | None] = {}  # by node: what it is at
    for at, kind, node, detail in world.trace.records:
        if kind == "deliver":
            handled[node] = Arrived(at / 1e6, detail[1], node, _content(detail))
            found.append(handled[node])
        elif kind in STIMULI:
            handled[node] = None
        elif kind == "send" and (busy := handled.get(node)) is not None and busy.source == detail[2]:
            busy.answered = True
    return found


def _content(envelope: tuple) -> str:
    full = packed_body(envelope[3], envelope[4])
    return text({key: value for key, value in full.items() if key not in ("msg_id", "in_reply_to")})


def excerpt(
    world: World,
    who: Iterable[str],
    since_s: float = 0.0,
    until_s: float = 1e9,
    *,
    about: Any = None,
    only: Callable[[tuple], bool] = lambda record: True,
    first: bool = False,
) -> list[str]:
    """The part of a run that concerns some nodes, drawn as a space-time diagram.

    Args:
        world: the run.
        who: nodes and clients; messages are drawn when both of their ends are among them.
        since_s, until_s: from when to when.
        about: only messages that carry this value.
        only: which of the world's records are shown.
        first: of a long part the beginning is drawn, and not the end.
    """
    lanes = [name for name in world.hosts if name in set(who)]
    kept, under_way = [], set()
    for record in world.trace.records:
        at_s, kind, _, detail = record[0] / 1e6, *record[1:]
        number = detail[0] if kind == "deliver" else detail[0][0] if kind == "lose" else None
        here = since_s <= at_s <= until_s and _concerns(record, {"", *lanes}, about) and only(record)
        if here or (number in under_way and kind == "deliver"):
            kept.append(record)
            if here and kind == "send":
                under_way.add(detail[0])  # its arrival is shown even when it comes later
    left_out = len(kept) - LINES
    if first and left_out > 0:
        head = drawn(Trace(lanes, [*kept[:LINES], *_arrivals(kept[LINES:])], world.seed), lines=len(kept))
        return [*head.splitlines()[: LINES + 1], f"          ... {left_out} later events are not shown ..."]
    return drawn(Trace(lanes, kept, world.seed), lines=LINES).splitlines()


def _arrivals(records: Iterable[tuple]) -> list[tuple]:
    """The deliveries among some records: a message is only drawn as lost if there is none."""
    return [record for record in records if record[1] == "deliver"]


def _concerns(record: tuple, who: set[str], about: Any) -> bool:
    _, kind, node, detail = record
    if kind in ("send", "deliver", "lose"):
        envelope = detail[0] if kind == "lose" else detail
        return {envelope[1], envelope[2]} <= who and (about is None or str(about) in _content(envelope))
    return node in who and kind != "save" and (about is None or kind not in ("timer", "wake", "timeout"))


@dataclasses.dataclass
class Asked:
    """One request of a client and what became of it.

    Args:
        tries: how often the client asks, if no answer comes.
    """

    at_s: float
    dest: str
    request: Message
    tries: int = 1
    answer: dict[str, Any] | None = None  # the body of the answer; None if there was none in time
    answered_s: float | None = None


def client(plan: Sequence[Asked], patience_s: float = 1.0) -> type[Node]:
    """A client that makes requests at given times, whether the last one is answered or not, and notes the answers.

    Args:
        plan: the requests, in the order of their times; the answers are written into it.
        patience_s: how long it waits for an answer, all tries together.
    """

    class Client(Node):
        async def on_start(self, ctx):
            for asked in plan:
                if asked.at_s > ctx.now():
                    await ctx.sleep(asked.at_s - ctx.now())
                ctx.spawn(self.ask(asked, ctx))

        async def ask(self, asked, ctx):
            for _ in range(asked.tries):
                try:
                    reply = await ctx.rpc(asked.dest, asked.request, timeout_s=patience_s / asked.tries)
                except TimeoutError:
                    continue
                except RequestFailed as refused:
                    reply = Error(refused.code, refused.text)
                asked.answer, asked.answered_s = body(reply), ctx.now()
                return

    return Client
