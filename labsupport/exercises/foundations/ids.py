"""Exercise 01.2, unique ids: clients ask the learner's nodes for ids, alone, in a crowd, in a partition, after a crash.

Two equal ids look alike however they came about. So each scene allows one cause for them, and comes after those that
have ruled out the others. The ids are compared as JSON, by the check.

Source: the workload unique-ids of Maelstrom, https://github.com/jepsen-io/maelstrom, doc/workloads.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import Run
from labsupport.exercises.foundations.scene import Asked, Play, Situation, client, excerpt, names
from labsupport.exercises.worlds import Case, Nodes, Wire
from labsupport.faults import Crash, Faults, Link, Partition
from labsupport.messages import RequestFailed, message, text
from labsupport.node import Node
from labsupport.sim.world import World

MANY = 5_000  # ids of a space of a million: that no two are equal happens once in 270,000 runs (birthday bound)
ANSWER_S = 1.0  # what the exercise allows for an answer
STEADY = Link(delay_ms=1.0, distribution="constant")  # what is sent at one time arrives at one time


@message
class Generate:
    pass


class Scene:
    """One run: clients that ask at given times, and the ids that they were given."""

    def __init__(self, play: Play, nodes: int, asked: Iterable[tuple[float, str]], faults: Faults) -> None:
        self.play = play
        self.plan = [Asked(at_s, dest, Generate()) for at_s, dest in sorted(asked)]
        self.world: World = play.world(nodes, faults=faults, clients={"c1": client(self.plan, ANSWER_S)})

    def to_the_end(self) -> Scene:
        """Let it run until the last answer is in or given up."""
        self.play.to_the_end(self.world, self.plan[-1].at_s + ANSWER_S + 0.1)
        return self.judge_form()

    def judge_form(self) -> Scene:
        """Each answer that came is a generate_ok with an id."""
        for asked in self.answered:
            if asked.answer["type"] != "generate_ok" or asked.answer.get("id") is None:
                self.reject("", "an answer is no generate_ok with an id", asked, expected="generate_ok(id=…)")
        return self

    @property
    def answered(self) -> list[Asked]:
        return [asked for asked in self.plan if asked.answer is not None and asked.answer["type"] != "error"]

    @property
    def pairs(self) -> list[tuple[Asked, Asked]]:
        """Each answer whose id was given before, with the last one before it that had the same id."""
        last: dict[str, Asked] = {}
        found = []
        for asked in sorted(self.answered, key=lambda asked: asked.answered_s):
            key = text({"id": asked.answer["id"]})
            if key in last:
                found.append((last[key], asked))
            last[key] = asked
        return found

    def must_answer(self, name: str, why: str) -> None:
        """Every request gets an id in time."""
        answered = {id(asked) for asked in self.answered}
        for asked in self.plan:
            if id(asked) not in answered:
                summary = f"{asked.dest} gave no id within {ANSWER_S:g} s, {why}"
                self.reject(name, summary, asked, expected="every node that runs answers by itself")

    def must_differ(self, name: str, why: str) -> None:
        """No id is given twice."""
        for first, second in self.pairs[:1]:
            self.reject_pair(name, why, first, second)

    def reject_pair(self, name: str, why: str, first: Asked, second: Asked) -> None:
        """End the check because of two equal ids."""
        whom = first.dest if first.dest == second.dest else f"{first.dest} and {second.dest}"
        evidence = [
            *(f"{asked.answered_s:9.4f} s  {asked.dest} gives {text(asked.answer)}" for asked in (first, second)),
            "",
            *self.drawn(first, second),
        ]
        self.play.reject(
            name,
            f"{whom} gave the same id twice, {why}",
            self.world,
            evidence,
            expected="no id is ever given twice",
            got=f"{first.answer['id']!r} and {second.answer['id']!r}",
        )

    def drawn(self, *asked: Asked) -> list[str]:
        """The parts of the run in which some requests were under way, and the crashes in between."""
        spans = [(each.at_s - 0.0002, each.answered_s or each.at_s + ANSWER_S) for each in asked]
        who = {each.dest for each in asked}

        def tells(record: tuple) -> bool:
            at, kind, node, detail = record
            if kind in ("send", "deliver", "lose"):
                envelope = detail[0] if kind == "lose" else detail
                return bool(who & {envelope[1], envelope[2]}) and any(a <= at / 1e6 <= b for a, b in spans)
            return kind in ("crash", "restart", "partition", "heal") or (node in who and kind == "note")

        return excerpt(self.world, self.world.hosts, spans[0][0], spans[-1][1], only=tells)

    def reject(self, name: str, summary: str, asked: Asked, expected: str) -> None:
        got = "nothing" if asked.answer is None else text(asked.answer)
        self.play.reject(name, summary, self.world, self.drawn(asked), expected=expected, got=got)


def _faults(**more) -> Faults:
    return Faults(client_link=STEADY, **more)


def _many(play: Play) -> None:
    """One node that lives long: equal ids one after the other come from its clock, scattered ones from chance."""
    gap_s = play.random.uniform(0.0011, 0.0015)
    asked = [(0.1 + gap_s * number, "n1") for number in range(MANY)]
    scene = Scene(play, 1, asked, _faults()).to_the_end()
    scene.must_answer("", "with nothing wrong anywhere")
    if not scene.pairs:
        return
    ids = [text(asked.answer) for asked in scene.answered]
    first, second = scene.pairs[0]
    if len(set(ids)) == 1:
        scene.reject_pair("", "and every other time as well", first, second)
    if len(list(itertools.groupby(ids))) == len(set(ids)):
        _reject_clock(play, scene)
    scene.reject_pair("small_random_space", f"among {MANY:,} ids", first, second)


def _at_once(play: Play) -> None:
    """Requests that arrive at one node within one tick of its clock."""
    asked = [(at_s, "n1") for at_s in (play.random.uniform(0.1, 1.0) for _ in range(3)) for _ in range(5)]
    scene = Scene(play, 1, asked, _faults()).to_the_end()
    if scene.pairs:
        _reject_clock(play, scene)


def _reject_clock(play: Play, scene: Scene) -> None:
    """The clock was all that told two ids of one node apart; whether the node's name is in them, two nodes show."""
    two = Scene(play, 2, [(turn / 2, name) for turn in range(1, 9) for name in ("n1", "n2")], _faults()).to_the_end()
    two.must_differ("wall_clock_only", "because their clocks showed the same")
    scene.reject_pair("two_in_one_tick", "because both requests came in one tick of its clock", *scene.pairs[0])


def _parted(play: Play) -> None:
    """Every node is alone for three seconds, and its clients go on asking."""
    alone = Partition([[name] for name in names(5)], play.random.uniform(0.8, 1.2), 3.0)
    asked = [(turn * 0.25, name) for turn in range(1, 18) for name in names(5)]
    scene = Scene(play, 5, asked, _faults(plan=[alone])).to_the_end()
    scene.must_answer("asks_another_node", "because it waits for another node, and a partition has cut it off")
    scene.must_differ("", "in a partition")


def _clock_again(play: Play) -> None:
    """A machine without a battery for its clock: each time that it starts, its clock shows the same."""
    times = [0.3 + 0.01 * number for number in range(10)]
    again_s = play.random.choice([2.0, 3.0, 4.0])
    scene = Scene(play, 2, [(at_s + more, "n1") for at_s in times for more in (0.0, again_s)], _faults())
    play.advance(scene.world, 1.0)
    scene.world.crash("n1")
    play.advance(scene.world, again_s)
    scene.world.hosts["n1"].offset = -again_s
    scene.world.restart("n1")
    scene.to_the_end().must_differ("clock_set_back", "because its clock showed the same again after a restart")


# ------------------------------------------------------------------------------------------------ what shrinks

# The other causes do not depend on times, so their runs are drawn from many seeds, and the shortest one is shown.


class NoIdTwice(Wire):
    """No two answers hold the same id, whoever gave them and whenever."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, str] = {}

    def saw(self, event) -> str:
        if event.kind != "send" or event.label != "generate_ok":
            return ""
        key = text({"id": event.body.get("id")})
        if key in self.given:
            before = self.given[key]
            who = event.node if before == event.node else f"{before} and {event.node}"
            return f"{who} gave the same id twice, {event.body.get('id')!r}"
        self.given[key] = event.node
        return ""


class Asker(Node):
    """Asks the node of its own number for an id, again and again."""

    async def on_start(self, ctx):
        for _ in range(TURNS):
            await ctx.sleep(0.05)
            try:
                await ctx.rpc(ctx.me.replace("c", "n"), Generate(), timeout_s=0.2)
            except (TimeoutError, RequestFailed):
                continue  # the node has crashed, or does not answer; another situation asks for that


def askers(count: int) -> dict[str, type[Node]]:
    """So many of them, by name."""
    return {f"c{number}": Asker for number in range(1, count + 1)}


TURNS = 60
CROWD = Case("a crowd", 5, {NoIdTwice: "no_node_id"}, askers(5), runs=2, until_s=4.0)
LONG_NAMES = Case("long names", 12, {NoIdTwice: "no_separator"}, askers(12), runs=2, until_s=2.0)
RESTARTED = Case(
    "a restart",
    2,
    {NoIdTwice: "counter_lost_on_restart"},
    askers(2),
    faults=lambda draw: Faults(plan=[Crash(draw.choice(names(2)), draw.uniform(0.5, 2.5), draw.uniform(0.05, 0.3))]),
    runs=5,
    until_s=4.0,
)
CRASHED_AT_SAVE = Case(
    "a crash at a save",
    2,
    {NoIdTwice: "saves_after_answering"},
    askers(2),
    faults=Faults(crash_at_save=0.3, down_ms=(5.0, 40.0)),
    runs=5,
    until_s=4.0,
)

SITUATIONS = (
    Situation("many ids", _many),
    Situation("at once", _at_once),
    CROWD,
    LONG_NAMES,
    Situation("everybody alone", _parted),
    RESTARTED,
    CRASHED_AT_SAVE,
    Situation("a clock without a battery", _clock_again),
)


def check_ids(answer: Answer, run: Run) -> str:
    """Play the situations one after the other."""
    with Nodes(answer) as nodes:
        for situation in SITUATIONS:
            if isinstance(situation, Case):
                nodes.hold(run, situation)
            else:
                situation.hold(nodes, run)
    return f"{MANY:,} ids of one node, ids of twelve nodes, in a partition, after crashes: all different, all in time"
