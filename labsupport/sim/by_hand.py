"""A cluster whose every event is chosen by whoever looks at it, forwards and backwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

from labsupport.errors import LearnerError
from labsupport.messages import packed_body
from labsupport.node import Node
from labsupport.sim import guard
from labsupport.sim.host import SECOND
from labsupport.sim.properties import Property, Violated
from labsupport.sim.steps import STEP_US, Step, Steps, steps_of
from labsupport.spacetime import drawn
from labsupport.trace import Trace, brief

AGAIN = 4  # the last so many messages that have arrived can arrive once more


@dataclasses.dataclass(frozen=True)
class Choice:
    """Something that can happen next.

    Args:
        words: what, for the eye, such as "deliver ping(number=1) from n1 to n2".
        step: the same for the world.
    """

    words: str
    step: Step


class ByHand:
    """Nodes to which something happens only when you choose it, and not for good: every step can be taken back.

    As the last value of a cell it has buttons; `take`, `back` and `forward` do the same. To go back, the steps before
    are taken again from the beginning, so the nodes have to be deterministic, as in every simulated world.

    Args:
        kind: the Node class, or one class for each name.
        nodes: how many; they are called n1, n2, ...
        seed: what the nodes' own chance is drawn from.
        clients: further Node classes by name.
        properties: what must hold, as in a `World`.
        after: a run to go on from, with the same nodes and seed: the trace of a `World`, or the steps of what a search
            has found. What got lost in it is still under way here.

    Raises:
        LearnerError: `after` is no run of these nodes.

    >>> hand = ByHand({"pinger": Pinger, "ponger": Ponger})  # doctest: +SKIP
    >>> hand.take("deliver ping")                             # doctest: +SKIP
    >>> hand.back()                                           # doctest: +SKIP
    """

    def __init__(
        self,
        kind: type[Node] | Mapping[str, type[Node]],
        *,
        nodes: int = 3,
        seed: int = 0,
        clients: Mapping[str, type[Node]] | None = None,
        properties: Iterable[Callable[[], Property]] = (),
        after: Trace | Iterable[Step] = (),
    ) -> None:
        self._given = (kind, nodes, clients or {}, seed, tuple(properties))
        self._steps: list[Step] = []
        self._changed: dict[Callable[[], None], None] = {}
        self.world, self.place = Steps(*self._given), 0
        for step in steps_of(after.records) if isinstance(after, Trace) else after:
            if not self._do(step):
                raise LearnerError(
                    f"This run cannot be repeated: after {self.place} steps {step.node} has no such {step.kind}.",
                    cause="it is a run of other nodes, or of another seed or number of nodes",
                    do="give the same classes, clients, nodes and seed as in the run",
                )
            self.place += 1
        if self.place:  # as they are called here: numbers of messages may differ from those in the other run
            self._steps = steps_of(self.trace.records, self.world.drawn)

    # -------------------------------------------------------------------------------------------- looking

    @property
    def last(self) -> int:
        """How many steps are known: those behind, and those that were taken back and can be taken again."""
        return len(self._steps)

    @property
    def choices(self) -> list[Choice]:
        """What can happen next; nothing after a violation."""
        if self.world.violation is not None:
            return []
        return list(_possible(self.world))

    @property
    def nodes(self) -> dict[str, Node | None]:
        """The node objects as they are at this step; None while a node is down."""
        return self.world.nodes

    def __getitem__(self, name: str) -> Node | None:
        return self.world[name]

    @property
    def trace(self) -> Trace:
        """What has happened up to this step."""
        return self.world.trace

    @property
    def violation(self) -> Violated | None:
        """What was violated at this step."""
        return self.world.violation

    def __repr__(self) -> str:
        lines = [f"step {self.place} of {self.last}, what can happen next:" if self.choices else "nothing can happen"]
        lines += [f"{number:3}  {choice.words}" for number, choice in enumerate(self.choices, 1)]
        return "\n".join([drawn(self.trace), *lines])

    def changed(self, tell: Callable[[], None]) -> None:
        """Have `tell` called whenever another step is shown."""
        self._changed[tell] = None

    def forget(self, tell: Callable[[], None]) -> None:
        """Have `tell` called no more."""
        self._changed.pop(tell, None)

    # -------------------------------------------------------------------------------------------- choosing

    def take(self, choice: Choice | int | str) -> ByHand:
        """Let something happen; steps that were taken back are forgotten, unless this is the first of them.

        Args:
            choice: one of `choices`, its number from 1 on, or the beginning of its words: then it is the first such.

        Raises:
            LearnerError: that cannot happen now.
        """
        step = self._meant(choice)
        if self._steps[self.place : self.place + 1] != [step]:
            self._steps[self.place :] = [step]
        return self.forward()

    def forward(self, steps: int = 1) -> ByHand:
        """Take steps again that were taken back."""
        return self.go(self.place + steps)

    def back(self, steps: int = 1) -> ByHand:
        """Take steps back."""
        return self.go(self.place - steps)

    def go(self, place: int) -> ByHand:
        """Show the world after so many steps, or the nearest that there is."""
        place = min(max(0, place), self.last)
        if place < self.place:
            self.world, self.place = Steps(*self._given), 0
        for step in self._steps[self.place : place]:
            self._do(step)
        self.place = place
        for tell in list(self._changed):
            tell()
        return self

    def _do(self, step: Step) -> bool:
        with guard.watching(self.world.hosts.values()):
            return self.world.do(step)

    def _meant(self, choice: Choice | int | str) -> Step:
        choices = self.choices
        for number, each in enumerate(choices, 1):
            if choice in (each, number) or (isinstance(choice, str) and each.words.startswith(choice)):
                return each.step
        raise LearnerError(
            f"{getattr(choice, 'words', choice)!r} cannot happen now.",
            do=f"choose from: {'; '.join(each.words for each in choices)}" if choices else "go back first",
        )


def _possible(world: Steps) -> Iterator[Choice]:
    """What can happen next: messages and timers first, what goes wrong last."""
    up = {name: host for name, host in world.hosts.items() if host.up}
    soon = world.now_us + STEP_US
    for envelope in world.pending.values():
        if envelope[2] in up:
            yield _of_message("deliver", envelope, soon)
    for name, host in up.items():
        for timer, due in host.timers.items():
            yield Choice(f"timer {timer!r} of {name} goes off", Step("timer", name, timer, max(soon, due)))
        for wait in host.waits.values():
            if not wait.dest:
                due = soon + int(wait.seconds * SECOND)
                yield Choice(f"{name} has slept for {wait.seconds:g} s", Step("wake", name, at_us=due))
    for envelope in world.pending.values():
        yield _of_message("lose", envelope, soon)
    for envelope in list(world.delivered.values())[-AGAIN:]:
        if envelope[2] in up and envelope[6] is None:  # a second answer to a request changes nothing
            yield _of_message("deliver", envelope, soon, again=True)
    for name, host in up.items():
        for wait in host.waits.values():
            if wait.dest:
                words = f"{name} gives up waiting for {wait.dest} to answer {wait.what}"
                yield Choice(words, Step("timeout", name, (wait.dest, wait.what), soon))
    for name, host in world.hosts.items():
        if not host.client:
            kind = "crash" if host.up else "restart"
            yield Choice(f"{kind} {name}", Step(kind, name, at_us=soon))


def _of_message(kind: str, envelope: tuple, at_us: int, again: bool = False) -> Choice:
    number, source, dest, what, parts, *_ = envelope
    words = f"{kind} {brief(packed_body(what, parts))} from {source} to {dest}{', again' if again else ''}"
    return Choice(words, Step(kind, dest, (source, what.wire_type, parts), at_us, again=again, number=number))
