"""Lesson 00, Start here: an echo, and a pinger that asks until it is answered; both are nodes in a simulated world.

Echo has its name and its form from Maelstrom's first workload, the pinger what RFC 1123, section 4.2.3.1, says of
resending: a late answer to an old question must not set off another question ("Sorcerer's Apprentice Syndrome").
https://github.com/jepsen-io/maelstrom/blob/main/doc/workloads.md, https://www.rfc-editor.org/rfc/rfc1123
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from typing import Any

from labsupport.exercises.answer import Answer
from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.checking import Run
from labsupport.exercises.worlds import Case, Eventually, Nodes, Seen
from labsupport.faults import Faults, Link, Partition
from labsupport.messages import message
from labsupport.node import Node

PINGS = 5  # numbers that the pinger is to ask for
AGAIN_S = 0.2  # how long it waits for an answer
TOO_SOON_S = 0.15  # a resend before this is not a matter of rounding

# ------------------------------------------------------------------------------------------------ 00.1 echo


@message
class Echo:
    number: int
    payload: object
    trace_id: str = ""


@message
class EchoOk:
    number: int
    payload: object
    trace_id: str = ""


class Asker(Node):
    """A node that asks now and then, by a message each, and takes what comes."""

    def on_start(self, ctx):
        big = ctx.random.randrange(10**9)
        self.payloads = [f"hello {big}", big, {"n": big, "list": [1, None, True]}, "grüß dich, 世界", "", 0, [], None]
        ctx.random.shuffle(self.payloads)
        ctx.set_timer("ask", ctx.random.uniform(0, 0.01))

    async def on_timer(self, name, ctx):
        if not self.payloads:
            return
        ctx.set_timer("ask", ctx.random.uniform(0, 0.01))
        question = Echo(ctx.random.randrange(10**9), self.payloads.pop(), f"{ctx.random.randrange(16**6):06x}")
        await self.ask(question, ctx)

    async def ask(self, question, ctx):
        ctx.send("echo", question)

    def on_echo_ok(self, message, sender, ctx):
        """The check sees the answers on the wire."""


class Awaiter(Asker):
    """The same, but it awaits each answer, so that an answer has to say what it answers."""

    async def ask(self, question, ctx):
        with contextlib.suppress(TimeoutError):  # the check has seen it on the wire
            await ctx.rpc("echo", question, timeout_s=2.0)


def _whole(value: Any) -> int | None:
    """A whole number, and None for whatever else a learner may have put there."""
    return value if isinstance(value, int) else None


@dataclasses.dataclass
class Question:
    """One question on its way to an answer."""

    client: str
    body: dict[str, Any]
    answered: bool = False


class Echoes(Eventually):
    """Each question gets one answer: its own, to whoever asked it."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: dict[int, Question] = {}
        self.last: Question | None = None

    def saw(self, event: Seen) -> str:
        if event.label == "echo" and event.kind == "deliver":
            self.last = self.questions[event.body["number"]] = Question(event.peer, event.body)
        elif event.kind == "send" and event.node == "echo":
            return self._judged(event)
        return ""

    def _judged(self, event: Seen) -> str:
        body, dest = event.body, event.peer
        question = (
            self.questions.get(_whole(body.get("number"))) or self._asked_by(dest, body.get("in_reply_to")) or self.last
        )
        if event.label != "echo_ok" or question is None:
            return f"it sends {event.label} to {dest}, and only EchoOk was asked for"
        if dest != question.client:
            return self.blame("answers_the_wrong_sender", f"{question.client} asked, and the answer goes to {dest}")
        if question.answered:
            return self.blame("answers_twice", f"{dest} gets a second answer to question {question.body['number']}")
        question.answered = True
        missing = [name for name in ("number", "trace_id") if body.get(name) != question.body[name]]
        if missing:
            return self.blame(
                "drops_fields", f"the answer to {dest} does not carry the question's {' and '.join(missing)}"
            )
        sent, got = question.body["payload"], body.get("payload")
        if (sent, type(sent)) != (got, type(got)):
            return self.blame("changes_the_payload", f"{dest} sent the payload {sent!r} and gets back {got!r}")
        if body.get("in_reply_to") != question.body.get("msg_id"):
            return self.blame("sends_instead_of_replying", f"the answer to {dest} does not say what it answers")
        return ""

    def _asked_by(self, client: str, msg_id: Any) -> Question | None:
        found = (one for one in self.questions.values() if (one.client, one.body.get("msg_id")) == (client, msg_id))
        return next(found, None)

    def missing(self, world) -> str:
        open_ = [one.body["payload"] for one in self.questions.values() if not one.answered]
        if open_ and len(open_) < len(self.questions) and not any(open_):
            payloads = ", ".join(dict.fromkeys(map(repr, open_)))
            return self.blame("silent_on_nothing", f"no answer came to the payloads {payloads}")
        return f"{len(open_)} of {len(self.questions)} questions were never answered" if open_ else ""


def asking(name: str, asker: type[Node]) -> Case:
    """Two nodes that ask an echo."""
    nodes = {"echo": "Echoer", "ann": asker, "bob": asker}
    return Case(name, nodes, [Echoes], until_s=0.5, calm_s=3.0, runs=6, most_events=2_000)


ECHO_CASES = (asking("two who ask", Asker), asking("two who await the answer", Awaiter))


def check_echo(answer: Answer, run: Run) -> str:
    with Nodes(answer) as nodes:
        tried = [f"{case.name}: {nodes.hold(run, case)}" for case in ECHO_CASES]
    return f"each question got its own answer, once, and to whoever asked it ({'; '.join(tried)})"


# ------------------------------------------------------------------------------------------------ 00.2 a pinger


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Ponger(Node):
    """Answers each ping, as the lesson's does."""

    def on_ping(self, message, sender, ctx):
        ctx.reply(message, Pong(message.number))


class Pinging(Eventually):
    """What a pinger sends and counts, held against the pongs that have come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: set[int] = set()
        self.sent: dict[int, list[float]] = {}  # when each number was pinged
        self.asked: int | None = None  # msg_id of the newest ping, if it was sent with ctx.rpc
        self.stale = False  # whether a pong that came before is what the pinger reacts to now
        self.counted = 0

    def saw(self, event: Seen) -> str:
        if event.node != "pinger" or event.kind in ("lose", "save"):
            return ""
        if event.kind == "send":
            return self._sends(event)
        if event.kind == "note":
            return self._counts(event) if event.label == "counted" else ""
        self.stale = False
        if event.label == "pong" and event.kind == "deliver":
            of_old = event.body.get("in_reply_to", self.asked) != self.asked  # ctx.rpc does not hand these over
            self.stale = event.body["number"] in self.answered or of_old
            if not of_old:
                self.answered.add(event.body["number"])
        return ""

    def _sends(self, event: Seen) -> str:
        number = _whole(event.body.get("number"))
        if event.label != "ping" or event.peer != "ponger" or number not in range(1, PINGS + 1):
            return f"it sends {event.label} {number} to {event.peer}; asked for are pings 1 to {PINGS} to the ponger"
        if number > 1 and number - 1 not in self.answered:
            if self.stale:
                return self.blame("counts_every_pong", f"ping {number - 1} is taken as answered, by an old pong")
            sentence = f"ping {number} goes out, and {number - 1} is not answered yet"
            if event.at_s - self.sent.get(number - 1, [-1.0])[-1] < TOO_SOON_S:
                return sentence  # all numbers at once: not what was asked for, and no mistake about resending
            return self.blame("new_number_on_every_resend", sentence)
        if self.stale:
            return self.blame("answers_old_pongs", f"an old pong comes, and sets off ping {number} once more")
        if number in self.answered:
            return self.blame("resends_after_the_answer", f"ping {number} goes out again; its pong has come before")
        times = self.sent.setdefault(number, [])
        gaps = [after - before for before, after in itertools.pairwise([*times[-2:], event.at_s])]
        # A pinger whose timer ticks all the time may resend early once, but not twice in a row.
        if gaps and (gaps[-1] == 0 or (max(gaps) < TOO_SOON_S and len(gaps) == 2)):
            late = f"{gaps[-1]:.3f} s after the last one"
            return self.blame("does_not_wait", f"ping {number} goes out again {late}, and {AGAIN_S} s were agreed")
        times.append(event.at_s)
        self.asked = event.body.get("msg_id")
        return ""

    def _counts(self, event: Seen) -> str:
        self.counted += 1
        total = event.body.get("total")
        if self.counted > len(self.answered) or total != self.counted:
            sentence = f"it counts {total}, and so many pings have been answered: {len(self.answered)}"
            return self.blame("counts_every_pong", sentence) if self.counted > len(self.answered) else sentence
        return ""

    def missing(self, world) -> str:
        if self.counted == PINGS:
            return ""
        number = next((n for n in range(1, PINGS + 1) if n not in self.answered), 0)
        if not number:
            return f'all {PINGS} pings were answered, and {self.counted} counted with ctx.note("counted", total=…)'
        times = self.sent.get(number, [])
        if not times:
            return f"ping {number} never went out"
        if len(times) == 1:
            return self.blame("never_resends", f"ping {number} went out once and got lost; since then it waits")
        return self.blame(
            "gives_up", f"ping {number} went out {len(times)} times, for the last time at {times[-1]:.1f} s"
        )


def pinging(name: str, faults: Faults, runs: int, until_s: float = 3.0) -> Case:
    """A pinger and a ponger with some faults, and then time enough to finish without."""
    nodes = {"pinger": "Pinger", "ponger": Ponger}
    return Case(name, nodes, [Pinging], faults=faults, until_s=until_s, calm_s=3.0, runs=runs, most_events=5_000)


PINGER_CASES = (
    pinging("all is well", Faults(), 2),
    pinging("slow links", Faults(link=Link(delay_ms=180)), 8),
    pinging("lost and repeated", Faults(loss=0.3, duplicate=0.3), 8),
    pinging("cut for long", Faults(plan=[Partition([["pinger"]], at_s=0, for_s=20)]), 1, until_s=21),
)


def check_pinger(answer: Answer, run: Run) -> str:
    with Nodes(answer) as nodes:
        tried = [f"{case.name}: {nodes.hold(run, case)}" for case in PINGER_CASES]
    return f"{PINGS} pings, each asked until it was answered and counted once ({'; '.join(tried)})"


LESSON = Lesson(
    number="00",
    title="Start here",
    notebook="00_start_here",
    minutes=45,
    systems=("etcd",),
    exercises=(
        Exercise(
            id="00.1",
            title="echo",
            points=2,
            takes=("Echoer",),
            check=check_echo,
            cases=ECHO_CASES,
            misconceptions={
                "answers_the_wrong_sender": "Each message comes with its sender, and two nodes ask at a time. An "
                "answer sent to a fixed name, or to whoever asked first, reaches somebody who did not ask.",
                "drops_fields": "Whoever asks may have many questions open and keep books about them. The fields that "
                "you have no use for are theirs: without them they cannot tell what your answer belongs to.",
                "answers_twice": "One question is one answer. A second copy looks like an answer to a question that "
                "nobody asked, and whoever counts answers counts one too many.",
                "changes_the_payload": "The payload is the sender's, not yours: it may be a number, a list or nothing "
                "at all, and turned into text it is no longer the same value.",
                "sends_instead_of_replying": "An answer that is sent as a new message arrives, but whoever awaits it "
                "does not get it: nothing says which question it answers. A reply carries the question's id back.",
                "silent_on_nothing": "Python takes an empty text, 0 and None for false, and a condition on the payload "
                "drops them. They are values like any other: somebody sent them and waits.",
            },
            hints=(
                "Look at the ponger: what are the three things that its handler is given, and which of them does it "
                "use for its answer?",
                "How would ann find her answer among ten others, and what must you not touch so that she can?",
                "One handler, named after the message. In it, one reply to the message that came, with an answer whose "
                "three fields are taken from it, unread and unchanged.",
            ),
        ),
        Exercise(
            id="00.2",
            title="ping until answered",
            points=3,
            takes=("Pinger",),
            check=check_pinger,
            cases=PINGER_CASES,
            misconceptions={
                "never_resends": "A message may be lost, and nobody tells you. A node that waits for an answer to a "
                "question that never arrived waits for ever.",
                "counts_every_pong": "A ping that was sent twice is answered twice, and the network can double a pong, "
                "too. What has to be counted is pings that were answered, not pongs that came.",
                "resends_after_the_answer": "The timer does not know that the answer has come. A resend that is not "
                "stopped, or not checked, goes on for ever and keeps network and ponger busy with nothing.",
                "new_number_on_every_resend": "The number says which question it is. A resend under a new number is "
                "another question: the late answer to the first one and the answer to this one both count.",
                "gives_up": "A network may be down for longer than you have patience. Who stops after some "
                "attempts has turned a long silence into an eternal one.",
                "answers_old_pongs": "Each old pong sets off another ping, which is answered by another pong: the "
                "traffic doubles and never falls again. It has a name, the sorcerer's apprentice.",
                "does_not_wait": "Copies that are sent at once share one fate: what loses the first, such as a cut "
                "cable, loses all. They only make traffic; it is time that brings a better chance.",
            },
            hints=(
                "Look at the pinger of “Ask again”: what does it do when the timer goes off, and what when a pong "
                "comes?",
                "Which number do you wait for at this moment? What do you know about a pong that bears another one, "
                "and what should it change?",
                "Keep the present number and the count. One method sends the ping and sets the timer; the timer calls "
                "it again. A pong that bears the present number is counted and noted, and then comes the next number, "
                "or, after the last one, the timer is cancelled. Any other pong is ignored.",
            ),
        ),
    ),
)
