"""Exercise 01.1, a failure detector: the learner's nodes watch each other, and the check decides who falls silent.

Each scene of the check can only be failed by one way of thinking, and comes after those that it builds on. All times
are those of the simulated world, so a verdict depends on the seed alone.

Source: Chandra and Toueg, *Unreliable Failure Detectors for Reliable Distributed Systems*, J. ACM 43 (2), 1996: the
detector asked for is their eventually perfect one, with a bound on the time that it takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NoReturn

from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import Run
from labsupport.exercises.foundations.scene import Play, Situation, between_nodes, excerpt
from labsupport.exercises.worlds import Nodes
from labsupport.faults import Crash, Faults, Link, Partition, Planned, Skew
from labsupport.sim.world import World

PERIOD_S = 0.1  # between two heartbeats, as the exercise says
SOON_S = 1.0  # the time that the exercise allows for suspecting and for restoring
SLACK_S = 0.15  # a look at the clock every period, and a message's delay: not what the exercise is about
STALL_S, STALL_EVERY_S, STALLS = 1.5, 3.0, 10  # the link that stands still: longer than SOON_S, so no one limit fits
MISTAKES, CALM_STALLS = 5, 4  # so many are allowed about that link, and none while it stands still for the last times
LEARNED_S = 6.0  # the time allowed for a node behind that link, once the detector has learned of it
LINK = Link(delay_ms=5.0)


@dataclasses.dataclass(frozen=True)
class Word:
    """One note: at some time, a node says that it suspects or restores a peer."""

    at_s: float
    who: str
    what: str
    peer: str

    def __str__(self) -> str:
        return f"{self.who} {self.what}s {self.peer} at {self.at_s:.2f} s"


class Scene:
    """One run of the learner's detectors, and what they said in it."""

    def __init__(self, play: Play, nodes: int, until_s: float, *plan: Planned) -> None:
        self.play = play
        self.world: World = play.world(nodes, faults=Faults(link=LINK, plan=plan))
        self.names = list(self.world.hosts)
        play.to_the_end(self.world, until_s)
        self.words = list(self._words())

    def _words(self):
        for event in self.world.trace.of_kind("note"):
            if event.label in ("suspect", "restore"):
                peer = (event.body or {}).get("peer")
                if peer not in self.names or peer == event.node:
                    self.reject(
                        "",
                        f"{event.node} noted {event.label} without saying of which peer",
                        event.node,
                        peer if peer in self.names else event.node,
                        expected='ctx.note("suspect", peer="n2"), with a name from ctx.peers',
                        got=event.words,
                        since_s=event.at_s - 0.2,
                        until_s=event.at_s,
                    )
                yield Word(event.at_s, event.node, event.label, peer)

    def said(self, what: str, who: str, peer: str, since_s: float = 0.0, until_s: float = 1e9) -> list[Word]:
        """When a node said something of a peer."""
        return [w for w in self.words if (w.what, w.who, w.peer) == (what, who, peer) and since_s <= w.at_s <= until_s]

    def suspected(self, who: str, peer: str, at_s: float) -> bool:
        """Whether a node suspects a peer at some time."""
        earlier = [word for word in self.words if (word.who, word.peer) == (who, peer) and word.at_s <= at_s]
        return bool(earlier) and earlier[-1].what == "suspect"

    def reject(
        self, name: str, summary: str, who: str, peer: str, since_s: float = 0.0, until_s: float = 1e9, **sides: object
    ) -> NoReturn:
        """End the check with a drawing of what `peer` sent to `who`, and of what `who` said of it."""

        def tells(record: tuple) -> bool:
            _, kind, node, detail = record
            if kind in ("send", "deliver"):
                return detail[1] == peer
            if kind == "note":
                return node == who and detail[1].get("peer", peer) == peer
            return kind not in ("lose", "timer", "wake") or name == "timer_set_once"

        evidence = excerpt(self.world, [who, peer], since_s, until_s, only=tells)
        self.play.reject(name, summary, self.world, evidence, **sides)

    # -------------------------------------------------------------------------------------------- what can be wrong

    def must_suspect(self, name: str, who: str, peer: str, silent_s: float, within_s: float = SOON_S) -> None:
        """`peer` is silent from some time on, and `who` has to say so in time."""
        latest = silent_s + within_s + SLACK_S
        if self.suspected(who, peer, latest):
            return
        later = self.said("suspect", who, peer, latest)
        got = f"after {later[0].at_s - silent_s:.1f} s" if later else f"no such note until {self.world.now_s:.0f} s"
        self.reject(
            name,
            f"{peer} is silent from {silent_s:.1f} s on, and {who} "
            f"{'suspects it too late' if later else 'never suspects it'}",
            who,
            peer,
            expected=f"{who} notes suspect, peer={peer} within {within_s:g} s",
            got=got,
            since_s=silent_s - 0.25,
            until_s=later[0].at_s if later else latest,
        )

    def must_restore(self, name: str, who: str, peer: str, heard_s: float) -> None:
        """`peer` is heard again from some time on, and `who` has to say so."""
        latest = heard_s + SOON_S + SLACK_S
        if not self.suspected(who, peer, latest):
            return
        self.reject(
            name,
            f"{who} hears {peer} again from {heard_s:.1f} s on and goes on suspecting it",
            who,
            peer,
            expected=f"{who} notes restore, peer={peer} within {SOON_S:g} s",
            got=f"{peer} is still suspected at {latest:.1f} s",
            since_s=heard_s - 0.15,
            until_s=heard_s + 0.6,
        )

    def must_trust(self, name: str, why: str, who: Sequence[str], peers: Sequence[str], until_s: float = 1e9) -> None:
        """Nobody of `who` may suspect one of `peers`, who are well and heard."""
        for word in self.words:
            if word.what == "suspect" and word.who in who and word.peer in peers and word.at_s <= until_s:
                self.reject(
                    name,
                    f"{word.who} suspects {word.peer}, which is alive: {why}",
                    word.who,
                    word.peer,
                    expected=f"no suspicion of {word.peer}",
                    got=f"{word}",
                    since_s=word.at_s - 0.45,
                    until_s=word.at_s + 0.15,
                )

    def must_say_once(self) -> None:
        """A note is made when something changes, not as long as it lasts."""
        state: dict[tuple[str, str], str] = {}
        for word in self.words:
            if state.get((word.who, word.peer), "restore") == word.what:
                self.reject(
                    "repeats_itself",
                    f"{word.who} notes {word.what}, peer={word.peer} although nothing has changed since the last time",
                    word.who,
                    word.peer,
                    expected="one note for each change",
                    got=f"{word}, again",
                    since_s=word.at_s - 0.35,
                    until_s=word.at_s + 0.05,
                )
            state[word.who, word.peer] = word.what


def _rhythm(play: Play) -> None:
    """Nothing goes wrong: every node sends ten heartbeats a second, and nobody suspects anybody."""
    scene = Scene(play, 3, 3.0)
    beats = {(a, b): [] for a in scene.names for b in scene.names if a != b}
    for sent in between_nodes(scene.world):
        beats[sent.source, sent.dest].append(sent.at_s)
    wanted = 3.0 / PERIOD_S
    for (source, dest), times in beats.items():
        if 0.8 * wanted <= len(times) <= 1.3 * wanted:
            continue
        once = 0 < len(times) <= 2
        scene.reject(
            "timer_set_once" if once else "",
            f"{source} sent {dest} {len(times)} message(s) in 3 s" + (" and then no more" if once else ""),
            dest,
            source,
            expected=f"a heartbeat every {PERIOD_S:g} s, {wanted:.0f} in all",
            got=f"{len(times)}",
            until_s=1.0,
        )
    scene.must_trust("one_lost_heartbeat", "not even one heartbeat was lost", scene.names, scene.names)


def _death(play: Play) -> None:
    """One of three nodes dies for good."""
    dead = play.random.choice(["n1", "n2", "n3"])
    scene = Scene(play, 3, 6.0, Crash(dead, 2.0, None))
    others = [name for name in scene.names if name != dead]
    scene.must_say_once()
    if any(scene.said("suspect", who, dead, 2.0 + SOON_S + SLACK_S) for who in others):
        for who in others:
            scene.must_suspect("too_patient", who, dead, 2.0)
    if not any(scene.suspected(who, dead, 6.0) for who in others):
        pair = Scene(play, 2, 6.0, Crash("n2", 2.0, None))
        name = "one_timer_for_all" if pair.suspected("n1", "n2", 6.0) else ""
        scene.must_suspect(name, others[0], dead, 2.0)
    for who in others:
        scene.must_suspect("", who, dead, 2.0)
    scene.must_trust("", "only another node has died", others, others)


def _lost(play: Play) -> None:
    """One or two heartbeats in a row are lost, of one node after the other."""
    for lost, length_s in (("one heartbeat was", 0.08), ("two heartbeats in a row were", 0.17)):
        plan = [
            Partition([[play.random.choice(["n1", "n2", "n3"])]], 1.0 + turn + play.random.random() / 2, length_s, True)
            for turn in range(6)
        ]
        scene = Scene(play, 3, 8.0, *plan)
        scene.must_trust("one_lost_heartbeat", f"no more than {lost} lost", scene.names, scene.names)


def _cut_off(play: Play) -> None:
    """A node that has spoken is cut off for a while, both ways."""
    alone = play.random.choice(["n1", "n2", "n3"])
    scene = Scene(play, 3, 7.0, Partition([[alone]], 2.0, 2.5))
    others = [name for name in scene.names if name != alone]
    for who in others:
        scene.must_suspect("", who, alone, 2.0)
    for peer in others:
        quiet = not any(word.who == alone for word in scene.words if word.at_s < 4.5)
        scene.must_suspect("checks_only_when_hearing" if quiet else "", alone, peer, 2.0)
    for peer in others:
        scene.must_restore("never_restores", peer, alone, 4.5)
        scene.must_restore("never_restores", alone, peer, 4.5)
    scene.must_say_once()
    scene.must_trust("", "only another node was cut off", others, others)


def _silent_from_the_start(play: Play) -> None:
    """A node is cut off before its first heartbeat, and reached later."""
    alone = play.random.choice(["n1", "n2", "n3"])
    scene = Scene(play, 3, 6.0, Partition([[alone]], 0.0, 3.0))
    others = [name for name in scene.names if name != alone]
    for peer in others:
        scene.must_suspect("never_suspects_the_silent", peer, alone, 0.0)
        scene.must_suspect("never_suspects_the_silent", alone, peer, 0.0)
        scene.must_restore("never_restores", peer, alone, 3.0)
        scene.must_restore("never_restores", alone, peer, 3.0)


def _clocks(play: Play) -> None:
    """All clocks are ahead alike; then each shows something else and runs a little fast or slow. A node dies."""
    names = ["n1", "n2", "n3"]
    ahead, dead = float(play.random.randint(100, 1000)), play.random.choice(names)
    alike = [Skew(name, ahead) for name in names]
    offsets = play.random.sample([0.0, float(play.random.randint(20, 60)), -float(play.random.randint(20, 60))], 3)
    apart = [Skew(*skew, play.random.uniform(0.97, 1.03)) for skew in zip(names, offsets, strict=True)]
    for misconception, clocks, why in (
        ("clock_starts_at_zero", alike, f"every clock shows {ahead:.0f} s when it starts"),
        ("trusts_the_senders_clock", apart, "the clocks of the nodes are up to two minutes apart"),
    ):
        scene = Scene(play, 3, 5.0, *clocks, Crash(dead, 2.0, None))
        others = [name for name in names if name != dead]
        scene.must_trust(misconception, why, names, names, 2.0)
        for who in others:
            scene.must_suspect(misconception, who, dead, 2.0)
        scene.must_trust(misconception, why, others, others)


def _restart(play: Play) -> None:
    """A node dies and starts again, with nothing in its memory."""
    dead = play.random.choice(["n1", "n2", "n3"])
    scene = Scene(play, 3, 7.0, Crash(dead, 3.0, 1.5))
    others = [name for name in scene.names if name != dead]
    for who in others:
        scene.must_suspect("", who, dead, 3.0)
        scene.must_restore("restart_looks_old", who, dead, 4.5)
    scene.must_trust("", "it was heard all the time", others, others)


def _slow_link(play: Play) -> None:
    """What one node sends is held up again and again, longer than a dead node may go unnoticed; then two nodes die."""
    slow, usual, *others = play.random.sample(["n1", "n2", "n3", "n4"], 4)
    stalls = [2.0 + STALL_EVERY_S * turn for turn in range(STALLS)]
    death = stalls[-1] + STALL_EVERY_S + 1.0
    end = death + 2 + LEARNED_S + 2
    plan = [Partition([[slow]], at_s, STALL_S, one_way=True) for at_s in stalls]
    scene = Scene(play, 4, end, *plan, Crash(usual, death, None), Crash(slow, death + 2, None))
    for who in (*others, usual):
        wrong = scene.said("suspect", who, slow, until_s=death)
        late = [word for word in wrong if word.at_s >= stalls[-CALM_STALLS]]
        if len(wrong) > MISTAKES or late:
            _still_wrong(scene, who, slow, wrong, stalls)
    for who in others:
        scene.must_suspect("one_timeout_for_all", who, usual, death)
    for who in others:
        scene.must_suspect("gives_up_on_a_slow_node", who, slow, death + 2, LEARNED_S)
    scene.must_trust("", "its link is as quick as ever", others, [*others, usual], death)


def _still_wrong(scene: Scene, who: str, slow: str, wrong: list[Word], stalls: list[float]) -> None:
    """A detector that does not learn, or not enough: its patience at each mistake tells the two apart."""
    patience = [min(word.at_s - begin for begin in stalls if begin <= word.at_s) for word in wrong]
    same = max(patience) - min(patience) < 2 * PERIOD_S
    scene.reject(
        "fixed_timeout" if same else "learns_too_slowly",
        f"{who} has wrongly suspected {slow} {len(wrong)} times, and it happens again each time its link stands still",
        who,
        slow,
        expected=f"at most {MISTAKES} mistakes about {slow}, and none during the last {CALM_STALLS} of {STALLS} stalls",
        got="suspected after " + ", ".join(f"{span:.1f} s" for span in patience) + " of silence",
        since_s=wrong[-1].at_s - patience[-1] - 0.25,
        until_s=wrong[-1].at_s + STALL_S - patience[-1] + 0.15,
    )


SITUATIONS = (
    Situation("all is well", _rhythm),
    Situation("a death", _death),
    Situation("lost heartbeats", _lost),
    Situation("cut off", _cut_off),
    Situation("silent from the start", _silent_from_the_start),
    Situation("clocks", _clocks),
    Situation("a restart", _restart),
    Situation("a slow link", _slow_link),
)


def check_detector(answer: Answer, run: Run) -> str:
    """Play the situations one after the other."""
    with Nodes(answer) as nodes:
        for situation in SITUATIONS:
            situation.hold(nodes, run)
    return "the dead are suspected, the living are not, and who comes back is restored, also behind a slow link"
