"""Exercise 01.3, a broadcast: clients hand values to the learner's nodes, and every value has to reach every node.

Each value is a number of six digits that stands nowhere else, so that any message that carries one shows it, whatever
the learner's messages look like. Scenes come in an order in which each can blame one way of thinking.

Source: the workload broadcast of Maelstrom, https://github.com/jepsen-io/maelstrom, doc/workloads.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import Run
from labsupport.exercises.foundations.scene import (
    Asked,
    Play,
    Sent,
    Situation,
    between_nodes,
    client,
    deliveries,
    excerpt,
)
from labsupport.exercises.worlds import Nodes
from labsupport.faults import Crash, Faults, Link, Partition
from labsupport.messages import message, text
from labsupport.sim.world import World

WITHIN_S = 1.0  # a calm network: from the client's request until every node has the value
HEALED_S = 3.0  # from the end of a partition, or of a node's death, until every node has the value
BUDGET = 60  # messages between nine nodes for one value; telling every neighbour and being acknowledged takes 48
STORM = 1_500  # messages in a quarter of a second: nobody who remembers what it has seen comes near
LINK = Link(delay_ms=10.0)
GRID = {
    name: [f"n{3 * row + column + 1}" for row, column in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
           if 0 <= row < 3 and 0 <= column < 3]
    for r in range(3) for c in range(3) for name in [f"n{3 * r + c + 1}"]
}  # fmt: skip
LINE = {f"n{i}": [f"n{j}" for j in (i - 1, i + 1) if 1 <= j <= 5] for i in range(1, 6)}


@message
class Topology:
    topology: dict


@message
class Broadcast:
    message: int


@message
class Read:
    pass


class Scene:
    """One run: a topology, values handed to nodes at given times, and reads.

    Args:
        topology: the neighbours of each node.
        values: times and nodes at which a new value is broadcast.
        reads: times at which every node is read.
        faults: what goes wrong.
        end_s: how long it lasts.
    """

    def __init__(
        self,
        play: Play,
        topology: dict[str, list[str]],
        values: Iterable[tuple[float, str]],
        reads: Iterable[float],
        faults: Faults,
        end_s: float,
    ) -> None:
        self.play, self.names = play, list(topology)
        times = sorted(values)
        numbers = play.random.sample(range(100_000, 1_000_000), len(times))
        hello = [Asked(0.0, name, Topology(topology), tries=20) for name in self.names]
        self.broadcasts = [Asked(at, name, Broadcast(n)) for (at, name), n in zip(times, numbers, strict=True)]
        self.reads = [Asked(at_s, name, Read()) for at_s in sorted(reads) for name in self.names]
        plan = sorted([*hello, *self.broadcasts, *self.reads], key=lambda asked: asked.at_s)
        self.world: World = play.world(len(topology), faults=faults, clients={"c1": client(plan, WITHIN_S)})
        self._play(end_s)
        self.sent = list(between_nodes(self.world))
        self._judge_answers(hello)

    def _play(self, end_s: float) -> None:
        """Let time pass, a little at a time: a storm would have no end otherwise."""
        while self.world.now_s < end_s:
            if not self.play.advance(self.world, min(end_s, self.world.now_s + 0.25), 2 * STORM):
                self._reject_storm()

    def _judge_answers(self, hello: Sequence[Asked]) -> None:
        for asked in hello:
            if asked.answer is None or asked.answer.get("type") != "topology_ok":
                self.reject("", f"{asked.dest} did not answer topology", [asked.dest, "c1"], expected="topology_ok()")
        for asked in self.reads:
            held = (asked.answer or {}).get("messages")
            if asked.answer is not None and not isinstance(held, list):
                self.reject("", f"{asked.dest} did not answer read with a list", [asked.dest, "c1"],
                            asked.at_s - 0.01, asked.at_s + WITHIN_S, expected="read_ok(messages=[…])",
                            got=text(asked.answer))  # fmt: skip

    # -------------------------------------------------------------------------------------------- what was seen

    def held(self, at_s: float) -> dict[str, list]:
        """What each node answered to the read at some time; nothing from one that did not answer."""
        return {read.dest: (read.answer or {}).get("messages", []) for read in self.reads if read.at_s == at_s}

    def lacking(self, value: int, at_s: float) -> list[str]:
        """The nodes that did not have a value at some time."""
        return [name for name, values in self.held(at_s).items() if value not in values]

    def between(self, since_s: float, until_s: float) -> list[Sent]:
        """The messages between nodes in a span of time."""
        return [sent for sent in self.sent if since_s <= sent.at_s < until_s]

    # -------------------------------------------------------------------------------------------- what can be wrong

    def reject(
        self,
        name: str,
        summary: str,
        who: Iterable[str],
        since_s: float = 0.0,
        until_s: float = 1e9,
        *,
        about: int | None = None,
        more: Sequence[str] = (),
        only: Callable[[tuple], bool] = lambda record: True,
        first: bool = False,
        **sides: object,
    ) -> NoReturn:
        """End the check with a drawing of what happened between some nodes; see `excerpt`."""
        evidence = [*more, *excerpt(self.world, who, since_s, until_s, about=about, only=only, first=first)]
        self.play.reject(name, summary, self.world, evidence, **sides)

    def _reject_storm(self) -> None:
        last = max((asked for asked in self.broadcasts if asked.at_s <= self.world.now_s), key=lambda asked: asked.at_s)
        sent = sum(sent.at_s >= last.at_s for sent in between_nodes(self.world))
        self.reject(
            "no_dedupe",
            f"after {last.dest} was given {last.request.message}, the nodes sent each other {sent:,} messages within "
            f"{self.world.now_s - last.at_s:.1f} s, and there was no end to it",
            [last.dest, *_others(self.names, last.dest)[:3]],
            last.at_s,
            last.at_s + 0.06,
            first=True,
            expected=f"at most {BUDGET} messages for one value",
            got=f"{sent:,}",
        )

    def must_answer(self, name: str, why: str) -> None:
        """Every broadcast is acknowledged in time."""
        for asked in self.broadcasts:
            if (asked.answer or {}).get("type") != "broadcast_ok":
                self.reject(
                    name,
                    f"{asked.dest} did not answer broadcast({asked.request.message}) within {WITHIN_S:g} s, {why}",
                    [asked.dest, "c1"],
                    asked.at_s - 0.01,
                    asked.at_s + WITHIN_S,
                    expected="broadcast_ok() as soon as the node has the value",
                    got=text(asked.answer) if asked.answer else "nothing",
                )

    def must_hold_once(self, name: str, why: str, at_s: float) -> None:
        """No node holds a value twice."""
        for node, values in self.held(at_s).items():
            twice = [(value, count) for value, count in Counter(map(str, values)).items() if count > 1]
            if not twice:
                continue
            value, count = twice[0]
            self.reject(
                name,
                f"{node} has the value {value} {count} times, {why}",
                [*self.names, "c1"],
                about=value,
                only=lambda record, node=node: record[2] == node and record[1] in ("deliver", "crash", "restart"),
                first=True,
                expected="each value once in read_ok",
                got=f"{value} in {str(values)[:60]}",
            )

    def must_fall_silent(self, since_s: float) -> None:
        """When every node has everything, there is nothing left to say."""
        later = [sent for sent in self.sent if sent.at_s >= since_s]
        if not later:
            return
        timed = [sent for sent in later if sent.cause != "deliver"]
        first = (timed or later)[0]
        self.reject(
            "resends_for_ever" if timed else "no_dedupe",
            f"{len(later)} messages were sent after {since_s:.0f} s, when every node had long had every value",
            [first.source, first.dest],
            since_s - 0.05,
            first.at_s + 0.5,
            expected="silence between the nodes until there is something new",
            got=f"{first.source} to {first.dest}: {first.text[:80]}",
        )

    def reject_lacking(
        self, name: str, asked: Asked, lacking: list[str], at_s: float, why: str, until_s: float = 1e9
    ) -> NoReturn:
        """End the check because a value has not come to all nodes."""
        value, node = asked.request.message, lacking[0]
        self.reject(
            name,
            f"{', '.join(lacking)} had not got the value {value} by {at_s:.1f} s: {why}",
            [asked.dest, node, *_others(self.names, asked.dest, node)[:2], "c1"],
            min(asked.at_s - 0.01, 4.99),
            until_s,
            about=value,
            only=lambda record: not (record[1] in ("send", "deliver") and record[3][3].wire_type == "read_ok"),
            first=True,
            more=[f"{value} was given to {asked.dest} at {asked.at_s:.2f} s"],
            expected=f"{value} in every node's read_ok",
            got=f"{len(self.names) - len(lacking)} of {len(self.names)} nodes have it",
        )


def _others(everyone: Iterable[str], *but: str) -> list[str]:
    return [name for name in everyone if name not in but]


def _calm(play: Play) -> None:
    """Nine nodes in a square, nothing goes wrong: in time, within the budget, and then silence."""
    nodes = play.random.sample(list(GRID), 8)
    times = [1.0 + turn * 1.25 for turn in range(8)]
    values = list(zip(times, nodes, strict=True))
    ends = [at_s + WITHIN_S for at_s in times]
    scene = Scene(play, GRID, values, [*ends, 20.0], Faults(link=LINK), 21.2)
    scene.must_answer("", "with nothing wrong anywhere")
    for asked, end_s in zip(scene.broadcasts, ends, strict=True):
        if lacking := scene.lacking(asked.request.message, end_s):
            _reject_calm(scene, asked, lacking, end_s)
    scene.must_hold_once("no_dedupe", "and nothing was sent twice by the network", 20.0)
    scene.must_fall_silent(times[-1] + 3.0)
    for asked in scene.broadcasts:
        _judge_budget(scene, asked)


def _reject_calm(scene: Scene, asked: Asked, lacking: list[str], end_s: float) -> None:
    """A value is not everywhere after a second: is it late, or did nobody pass it on?"""
    have = set(scene.names) - set(scene.lacking(asked.request.message, 20.0))
    near = {asked.dest, *GRID[asked.dest]}
    if have == set(scene.names):
        name, why = "waits_for_the_next_round", "it came later, although every link was quick"
    elif have == near:
        name, why = "tells_only_its_neighbours", "the neighbours of the first node have it and told nobody"
    else:
        name, why = "", f"in the end {', '.join(sorted(have)) or 'no node'} had it"
    scene.reject_lacking(name, asked, lacking, end_s, why)


def _judge_budget(scene: Scene, asked: Asked) -> None:
    sent = scene.between(asked.at_s, asked.at_s + 1.25)
    if len(sent) <= BUDGET:
        return
    again = [times for times in Counter((s.source, s.dest, s.text) for s in sent).values() if times > 1]
    soon = sum(again) - len(again) > len(sent) / 3
    busiest = Counter(s.source for s in sent).most_common(1)[0][0]
    pairs = len({(s.source, s.dest) for s in sent})
    scene.reject(
        "resends_too_soon" if soon else "everyone_tells_everyone" if pairs > 40 else "",
        f"one value took {len(sent)} messages between nine nodes"
        + (", most of them sent again before the answer could be there" if soon else f", on {pairs} of 72 ways"),
        [busiest, *GRID[busiest]],
        asked.at_s,
        asked.at_s + 0.5,
        only=lambda record: record[1] != "timer",
        first=True,
        expected=f"at most {BUDGET}",
        got=f"{len(sent)}, from {busiest} alone {sum(s.source == busiest for s in sent)}",
    )


def _growing(play: Play) -> None:
    """Forty values, one after the other: the last ones cost no more than the first."""
    values = [(1.0 + 0.4 * turn, play.random.choice(list(LINE))) for turn in range(40)]
    scene = Scene(play, LINE, values, [20.0], Faults(link=LINK), 21.2)
    first, last = scene.between(1.0, 5.0), scene.between(13.0, 17.0)
    sizes = [sum(len(sent.text) for sent in part) for part in (first, last)]
    if sizes[1] > 2 * sizes[0]:
        longest = max(last, key=lambda sent: len(sent.text))
        scene.reject(
            "whole_set_on_each_change",
            f"the first ten values took {sizes[0]:,} bytes between the nodes, the last ten of forty {sizes[1]:,}",
            [longest.source, longest.dest],
            longest.at_s - 0.1,
            longest.at_s + 0.1,
            expected="a new value costs as much as any other",
            got=f"{len(longest.text)} bytes from {longest.source} to {longest.dest}: {longest.text[:60]}…",
        )


def _parted(play: Play) -> None:
    """The square is cut in two for eight seconds, and both halves get values."""
    side = play.random.choice([["n1", "n4", "n7"], ["n1", "n2", "n3"], ["n9", "n6", "n8", "n5"], ["n1"]])
    rest = _others(GRID, *side)
    values = [(3.0 + turn / 2, play.random.choice(part)) for turn in range(3) for part in (side, rest)]
    healed = 10.0
    reads = [healed + HEALED_S, healed + 30.0]
    scene = Scene(play, GRID, values, reads, Faults(link=LINK, plan=[Partition([side], 2.0, 8.0)]), 46.0)
    scene.must_answer("answers_only_when_all_have_it", "because a partition keeps it from others")
    for asked in scene.broadcasts:
        value = asked.request.message
        lacking = scene.lacking(value, reads[0])
        if not lacking:
            continue
        across = [
            sent
            for sent in scene.between(0, healed)
            if sent.carries(value) and (sent.source in side) != (sent.dest in side) and sent.cause != "deliver"
        ]
        if not scene.lacking(value, reads[1]):
            name, why = "backs_off_without_bound", f"it came later, {HEALED_S:g} s after the healing are allowed"
        elif len(across) > 1:
            name = "gives_up_after_a_few_tries"
            why = f"it was sent again during the partition, for the last time at {across[-1].at_s:.1f} s, and given up"
        else:
            name, why = "sends_once", "it was sent once, into the partition, and never again"
        scene.reject_lacking(name, asked, lacking, reads[0], why)
    scene.must_fall_silent(reads[1] - 5.0)


def _lossy(play: Play) -> None:
    """Links that lose and repeat messages, then a calm network."""
    values = [(1.0 + turn / 2, play.random.choice(list(GRID))) for turn in range(10)]
    link = Link(delay_ms=10.0, loss=0.2, duplicate=0.3)
    scene = Scene(play, GRID, values, [12.0], Faults(link=link, until_s=8.0), 20.0)
    scene.must_hold_once("no_dedupe", "because the network delivered a message twice", 12.0)
    for asked in scene.broadcasts:
        if lacking := scene.lacking(asked.request.message, 12.0):
            scene.reject_lacking("sends_once", asked, lacking, 12.0, "a message was lost and not sent again")
    scene.must_fall_silent(16.0)


def _power_cut(play: Play) -> None:
    """All nodes die at once and start again; then one more value."""
    before = [(1.0 + turn / 2, name) for turn, name in enumerate(play.random.sample(list(GRID), 4))]
    again = [(7.0, play.random.choice(list(GRID)))]
    plan = [Crash(name, 5.0, play.random.uniform(0.2, 0.5)) for name in GRID]
    scene = Scene(play, GRID, [*before, *again], [6.5, 10.0], Faults(link=LINK, plan=plan), 18.0)
    for asked in scene.broadcasts[:-1]:
        if lacking := scene.lacking(asked.request.message, 6.5):
            why = "every node had it, and then all of them were restarted"
            scene.reject_lacking("forgets_at_restart", asked, lacking, 6.5, why)
    (last,) = scene.broadcasts[-1:]
    if lacking := scene.lacking(last.request.message, 10.0):
        why = "the nodes had been restarted, and topology is sent only once"
        scene.reject_lacking("forgets_its_neighbours", last, lacking, 10.0, why)
    scene.must_fall_silent(13.0)


def _late_copies(play: Play) -> None:
    """Every message arrives twice, many copies seconds late; all nodes are restarted before those arrive."""
    values = [(1.0 + turn / 4, play.random.choice(list(GRID))) for turn in range(4)]
    link = Link(delay_ms=10.0, duplicate=1.0, straggle=0.3, straggle_ms=4000.0)
    plan = [Crash(name, 3.8, 0.2) for name in GRID]
    scene = Scene(play, GRID, values, [10.0], Faults(link=link, plan=plan, until_s=9.0), 18.0)
    scene.must_hold_once("seen_mark_lost_at_restart", "because a late copy came after its restart", 10.0)
    knew = {
        (arrived.dest, asked.request.message)
        for arrived in deliveries(scene.world)
        for asked in scene.broadcasts
        if arrived.at_s < 3.7 and arrived.carries(asked.request.message)
    }
    for sent in scene.between(4.5, 9.0):
        for asked in scene.broadcasts:
            value = asked.request.message
            told = sent.carries(value) and (sent.source, value) in knew
            if told and sent.cause == "deliver" and sent.dest != sent.asker:
                scene.reject(
                    "seen_mark_lost_at_restart",
                    f"{sent.source} passed {value} on to {sent.dest} at {sent.at_s:.1f} s as if it were new, because "
                    f"a late copy came from {sent.asker}; it had had the value before it was restarted",
                    [sent.source, sent.dest, sent.asker],
                    about=value,
                    expected="a copy of a value that the node has had is no news",
                    got=sent.text[:80],
                )


def _debts(play: Play) -> None:
    """A node that is cut off takes a value, says so, and is restarted before anybody else can have it."""
    alone = play.random.choice(list(GRID))
    plan = [Partition([[alone]], 2.0, 4.0), Crash(alone, 4.0, 0.3)]
    reads = [6.0 + HEALED_S]
    scene = Scene(play, GRID, [(3.0, alone)], reads, Faults(link=LINK, plan=plan), 10.1)
    scene.must_answer("answers_only_when_all_have_it", "because a partition keeps it from others")
    (asked,) = scene.broadcasts
    if lacking := scene.lacking(asked.request.message, reads[0]):
        why = f"{alone} had said broadcast_ok, and after its restart it no longer knew that it owed the value to others"
        scene.reject_lacking("forgets_what_it_owes", asked, lacking, reads[0], why)


def _crashed_at_save(play: Play) -> None:
    """Nodes that die right before or right after they write to their disks, then a calm network."""
    values = [(1.0 + 0.06 * turn, play.random.choice(list(LINE))) for turn in range(80)]
    faults = Faults(link=LINK, crash_at_save=0.25, down_ms=(5.0, 40.0), until_s=7.0)
    scene = Scene(play, LINE, values, [7.0 + HEALED_S + 1], faults, 12.5)
    end_s = scene.reads[0].at_s
    said = [arrived for arrived in deliveries(scene.world) if arrived.answered]
    for asked in scene.broadcasts:
        value = asked.request.message
        lacking = scene.lacking(value, end_s)
        if asked.answer is None or not lacking:
            continue
        had = [node for node in lacking if any(one.dest == node and one.carries(value) for one in said)]
        if had:
            why = f"{had[0]} had received it and said so before it was on its disk, and crashed in between"
            near = asked.at_s + 0.5
            scene.reject_lacking("answers_before_saving", asked, had + _others(lacking, *had), end_s, why, near)
        why = "the node that has it crashed when the value was on its disk and whom it owes it to was not"
        scene.reject_lacking("value_and_debt_in_two_steps", asked, lacking, end_s, why, asked.at_s + 0.5)


SITUATIONS = (
    Situation("all is well", _calm),
    Situation("forty values", _growing),
    Situation("a partition", _parted),
    Situation("loss and copies", _lossy),
    Situation("a power cut", _power_cut),
    Situation("late copies", _late_copies),
    Situation("a debt", _debts),
    Situation("a crash at a save", _crashed_at_save),
)


def check_broadcast(answer: Answer, run: Run) -> str:
    """Play the situations one after the other."""
    with Nodes(answer) as nodes:
        for situation in SITUATIONS:
            situation.hold(nodes, run)
    return "every value reached every node, through loss, partition and crashes, and then the nodes fell silent"
