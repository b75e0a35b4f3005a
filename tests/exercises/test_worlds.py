"""A check of a node class runs in the judge's own world, gives one verdict for one seed, and survives any class."""

from __future__ import annotations

import dataclasses
import textwrap
import threading
import time
import types

import pytest

from labsupport import LearnerError, drawn, message, messages
from labsupport.exercises import catalogue, notebook, standins
from labsupport.exercises.answer import Answer
from labsupport.exercises.catalogue import Exercise
from labsupport.exercises.checking import run_check
from labsupport.exercises.worlds import Case, Eventually, Nodes, Wire, mixture
from labsupport.faults import Faults
from labsupport.history import Outcome
from labsupport.node import Node


@message
class Ask:
    number: int


@message
class Answered:
    number: int


class Asker(Node):
    """A client that asks every node every 100 ms."""

    def on_start(self, ctx):
        self.number = 0
        ctx.set_timer("ask", 0.1)

    def on_timer(self, name, ctx):
        self.number += 1
        for peer in ctx.peers:
            ctx.send(peer, Ask(self.number))
        ctx.set_timer("ask", 0.1)

    def on_answered(self, message, sender, ctx):
        ctx.note("heard", number=message.number)


class NothingTwice(Wire):
    def __init__(self):
        super().__init__()
        self.told = set()

    def saw(self, event):
        if event.kind == "deliver" and event.label == "answered":
            fact = (event.peer, event.body["number"])
            if fact in self.told:
                return f"{event.peer} has answered {event.body['number']} twice"
            self.told.add(fact)
        return ""


class InTheEnd(Eventually):
    heard = False

    def saw(self, event):
        self.heard = self.heard or event.label == "answered"
        return ""

    def missing(self, world):
        return "" if self.heard else "no answer has come"


PROPERTIES = {NothingTwice: "answers_twice", InTheEnd: "never_answers"}
CASE = Case(
    "asking", 2, PROPERTIES, clients={"c1": Asker}, until_s=0.5, calm_s=0.5, runs=3, storm="storm", shared="shared"
)
START = """
from labsupport import Node, message

@message
class Ask:
    number: int

@message
class Answered:
    number: int

class Subject(Node):
"""
RIGHT = """
def on_ask(self, message, sender, ctx):
    ctx.reply(message, Answered(message.number))
"""
BUSY = """
def on_start(self, ctx):
    self.total = ctx.load("total", 0)
    ctx.set_timer(("wake", 1), ctx.random.uniform(0.01, 0.05))

async def on_timer(self, name, ctx):
    ctx.set_timer(name, ctx.random.uniform(0.01, 0.05))
    self.total += 1
    ctx.save(total=self.total, list=[self.total] * 3)
    try:
        answer = await ctx.rpc(ctx.peers[0], Ask(self.total), timeout_s=0.02)
        ctx.note("answered", number=answer.number, at=ctx.now())
    except TimeoutError:
        ctx.spawn(self.nap(ctx))
    except RequestFailed as refused:
        ctx.note("refused", code=refused.code)
    ctx.cancel_timer("nothing")

async def nap(self, ctx):
    await ctx.sleep(0.01)
    ctx.send(ctx.me, Answered(0))

def on_ask(self, message, sender, ctx):
    ctx.reply(message, Answered(message.number) if message.number % 3 else Error(1000, "no multiples of three"))

def on_answered(self, message, sender, ctx):
    ctx.note("told", draw=ctx.random.random())
"""


def source(methods: str) -> str:
    return START.replace("Node, message", "Error, Node, RequestFailed, message") + textwrap.indent(methods, "    ")


def exercise(check, **fields) -> Exercise:
    misconceptions = dict.fromkeys(["answers_twice", "never_answers", "storm", "shared"], "That is wrong.")
    return Exercise("99.1", "asking", 1, ("Subject",), check, misconceptions, ("a", "b", "c"), **fields)


def hold(answer, run):
    with Nodes(answer) as nodes:
        return nodes.hold(run, CASE)


def answered(tmp_path, methods: str) -> Answer:
    file = tmp_path / "answer.py"
    file.write_text(source(methods))
    return Answer.from_file(("Subject",), file)


def verdict_on(tmp_path, methods: str, check=hold, seed=1):
    return run_check(exercise(check), answered(tmp_path, methods), seed=seed)


# ------------------------------------------------------------------------------------------------ the same world


SAVES = Faults(loss=0.1, duplicate=0.1, crashes_per_s=2, pauses_per_s=1, crash_at_save=0.2, skew=0.1)


@pytest.mark.parametrize("faults", [SAVES, mixture], ids=["crashes at saves", "a mixture"])
def test_a_judged_run_is_the_run_of_the_same_seed_with_the_class_at_hand(tmp_path, faults):
    case = Case("busy", 3, {}, faults=faults, until_s=3, calm_s=1)
    module = types.ModuleType("answer")
    exec(source(BUSY), module.__dict__)
    answer = answered(tmp_path, BUSY)
    kinds: set[str] = set()
    try:
        with Nodes(answer) as nodes:
            for seed in range(5):
                judged, here = nodes.run(case, seed).trace, case.run({"Subject": module.Subject}, seed).trace
                assert [str(event) for event in judged] == [str(event) for event in here]
                assert judged.digest() == here.digest()
                kinds.update(event.kind for event in judged)
                assert {note["code"] for note in judged.notes("refused")} == {1000}
                assert faults is mixture or any("save" in event.label for event in judged.of_kind("crash"))
    finally:
        answer.close()
    assert {"timer", "timeout", "wake", "save", "note", "crash", "restart", "lose"} <= kinds


def test_a_class_of_a_notebook_is_judged_with_the_messages_that_only_arrive(monkeypatch):
    space = {"__name__": "__main__"}
    monkeypatch.setattr(messages, "KNOWN", dict(messages.KNOWN))
    exec(
        source("def on_echo(self, message, sender, ctx):\n    ctx.send(sender, Answered(7))"),
        space := space
        | {"Echo": message(type("Echo", (), {"__annotations__": {"text": str}, "__module__": "__main__"}))},
    )
    answer = Answer.of(("Subject",), [space["Subject"]])
    try:
        with Nodes(answer) as nodes:
            echo = next(kind for name, kind in messages.KNOWN.items() if name == "echo")
            world = nodes.run(Case("echo", 1, {}, clients={"c1": _once(echo("hello"))}), seed=1)
            assert [note["number"] for note in world.trace.notes("heard")] == [7]
    finally:
        answer.close()


def _once(first):
    class Once(Asker):
        def on_start(self, ctx):
            ctx.send("n1", first)

    return Once


def test_the_same_seed_gives_the_same_verdict_and_another_one_other_cases(tmp_path):
    wrong = RIGHT + "    if message.number == ctx.random.randint(1, 9):\n        ctx.reply(message, Answered(1))\n"
    first, again, other = (verdict_on(tmp_path, wrong, seed=seed) for seed in (1, 1, 2))
    assert first.outcome is Outcome.FAIL and first == again and first.evidence != other.evidence


# ------------------------------------------------------------------------------------------------ verdicts


def test_a_right_answer_passes_and_is_told_how_much_was_tried(tmp_path):
    verdict = verdict_on(tmp_path, RIGHT)
    assert verdict.outcome is Outcome.PASS and verdict.summary.startswith("3 runs with ")


def test_a_violation_is_named_and_proved_by_the_shortest_trace(tmp_path):
    verdict = verdict_on(tmp_path, RIGHT + "    ctx.reply(message, Answered(message.number))\n")
    assert verdict.misconception == "answers_twice" and verdict.summary == "n1 has answered 1 twice"
    deliveries = [line for line in verdict.evidence if "receives" in line]
    assert len(deliveries) == 3 and "VIOLATION" in verdict.evidence[-1]
    assert verdict.again.startswith("replay(\"99.1\", Subject, case='asking', seed=")
    assert len(verdict.trace["events"]) == len(verdict.evidence) - 1  # the first line has the names


def test_what_never_happens_is_shown_in_a_whole_run(tmp_path):
    verdict = verdict_on(tmp_path, "def on_ask(self, message, sender, ctx):\n    pass\n")
    assert (verdict.misconception, verdict.summary) == ("never_answers", "no answer has come")
    assert any("ask(number=1)" in line for line in verdict.evidence)


def test_replay_shows_a_learner_the_run_that_the_check_complained_of(tmp_path, monkeypatch):
    module = types.ModuleType("answer")
    exec(source(RIGHT + "    ctx.reply(message, Answered(message.number))\n"), module.__dict__)
    monkeypatch.setattr(catalogue, "find", lambda _: exercise(hold, cases=(CASE,)))
    world = notebook.replay("99.1", module.Subject, case="asking", seed=5)
    assert world.violation.name == "NothingTwice" and "answered(number=1)" in drawn(world.trace)
    with pytest.raises(LearnerError, match="has no case 'other'"):
        notebook.replay("99.1", module.Subject, case="other", seed=5)


def test_an_untouched_stub_is_not_started(tmp_path):
    verdict = verdict_on(tmp_path, "def on_ask(self, message, sender, ctx):\n    raise NotImplementedError('yours')\n")
    assert verdict.outcome is Outcome.NOT_STARTED and "yours" in verdict.summary and "on_ask" in verdict.summary


def test_an_exception_comes_with_the_learners_lines_and_the_events_before_it(tmp_path):
    verdict = verdict_on(tmp_path, "def on_ask(self, message, sender, ctx):\n    {}[message.number]\n")
    assert verdict.outcome is Outcome.FAIL and verdict.summary == "KeyError(1) in on_ask, line 14: {}[message.number]"
    assert verdict.evidence[:2] == ("answer.py, line 14, in on_ask: {}[message.number]", "KeyError: KeyError(1)")
    assert any("receives ask(number=1)" in line for line in verdict.evidence)


def test_nodes_that_share_something_are_told_so(tmp_path):
    wrong = "counted = []\ndef on_ask(self, message, sender, ctx):\n    self.counted.append(message.number)\n"
    verdict = verdict_on(tmp_path, wrong + "    ctx.reply(message, Answered(message.number))\n")
    assert verdict.misconception == "shared" and "Subject.counted" in verdict.summary


def test_a_storm_ends_and_is_named(tmp_path):
    storm = "def on_ask(self, message, sender, ctx):\n    ctx.send(ctx.me, message)\n    ctx.send(ctx.me, message)\n"
    small = dataclasses.replace(CASE, most_events=2_000)
    verdict = verdict_on(tmp_path, storm, lambda answer, run: _hold(answer, run, small))
    assert verdict.misconception == "storm" and "2,000 events" in verdict.summary


def test_a_message_without_a_field_that_its_receiver_needs_is_refused(tmp_path):
    methods = "def on_ask(self, message, sender, ctx):\n    ctx.reply(message, Wrong(message.number))\n"
    text = source(methods).replace(
        "class Subject", "@message(wire_type='answered')\nclass Wrong:\n    n: int\n\nclass Subject"
    )
    file = tmp_path / "answer.py"
    file.write_text(text)
    case = Case("asking", 1, {}, clients={"c1": Asker})
    verdict = run_check(
        exercise(lambda answer, run: _hold(answer, run, case)), Answer.from_file(("Subject",), file), seed=1
    )
    assert verdict.outcome is Outcome.FAIL and verdict.summary.startswith("Your answered has no field 'number'")


def _hold(answer, run, case):
    with Nodes(answer) as nodes:
        return nodes.hold(run, case)


# ------------------------------------------------------------------------------------------------ whatever a class does

MISUSES = {
    "import time\n    time.sleep(1)": "A handler called time.sleep",
    "open('/etc/hostname')": "A handler called builtins.open",
    "ctx.send('n9', message)": "n1 sent a message to 'n9', and there is no node of that name.",
    "ctx.send('n1', 5)": "5 of type int is not a message.",
    "ctx.reply(message, Answered({1}))": "Answered.number is declared as int and holds {1}",
    "ctx.set_timer('x', 1)": "n1 set the timer 'x', and Subject has no on_timer.",
    "return Answered(1)": "Subject.on_ask returned Answered(number=1)",
    "ctx.save(seen={message.number})": "The value cannot be written as JSON",
    "while True: ctx.send('n1', message)": "One call of a handler did more than 10,000 things.",
}


@pytest.mark.parametrize("line", MISUSES)
def test_a_misuse_is_told_as_in_the_world(tmp_path, line):
    verdict = verdict_on(tmp_path, f"def on_ask(self, message, sender, ctx):\n    {line}\n")
    assert verdict.outcome is Outcome.FAIL and verdict.summary.startswith(MISUSES[line]), verdict
    assert verdict.expected and verdict.evidence


def test_a_foreign_await_is_told(tmp_path):
    wrong = "async def on_ask(self, message, sender, ctx):\n    import asyncio\n    await asyncio.sleep(1)\n"
    assert "asyncio" in verdict_on(tmp_path, wrong).summary


def test_a_handler_named_after_no_message_is_told(tmp_path):
    verdict = verdict_on(tmp_path, "def on_aks(self, message, sender, ctx): pass\n")
    assert verdict.outcome is Outcome.FAIL and "on_aks would never be called" in verdict.got


def test_something_else_than_a_node_is_told(tmp_path):
    file = tmp_path / "answer.py"
    file.write_text("def Subject(): pass\n")
    verdict = run_check(exercise(hold), Answer.from_file(("Subject",), file), seed=1)
    assert verdict.outcome is Outcome.FAIL and "is not a Node class" in verdict.got


def test_a_message_that_a_class_does_not_understand_is_told(tmp_path):
    verdict = verdict_on(tmp_path, "def on_start(self, ctx): pass\n")
    assert "Subject has no handler for it" in verdict.summary


@pytest.mark.parametrize("line", ["while True: pass", "import threading; threading.Event().wait()"])
def test_a_handler_that_never_returns_is_ended(tmp_path, monkeypatch, line):
    monkeypatch.setattr(standins, "HANDLER_S", 3.0)
    verdict = verdict_on(tmp_path, f"def on_ask(self, message, sender, ctx):\n    {line}\n")
    ended_by_the_judge = "on_ask of n1 to return, and it never happened" in verdict.summary
    ended_by_its_watchdog = verdict.summary.startswith("A handler did not return")
    assert verdict.outcome is Outcome.FAIL and (ended_by_the_judge or ended_by_its_watchdog)


@pytest.mark.parametrize(
    "line", ["import os; os._exit(3)", "import sys; sys.exit(3)", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_class_that_ends_its_process_has_failed(tmp_path, line):
    verdict = verdict_on(tmp_path, f"def on_ask(self, message, sender, ctx):\n    {line}\n")
    assert verdict.outcome is Outcome.FAIL and "waited for on_ask of n1 to return" in verdict.summary


HOSTILE = [
    b"not json\n",
    b"5\n",
    b"[5]\n",
    b"[[]]\n",
    b'[["send"]]\n',
    b'[["send", "n1", "a b", {}, null]]\n',
    b'[["send", "n1", "ask", {"number); import os #": NaN}, null]]\n',
    b'[["send", "n1", "ask", {"number); import os #": 1}, null]]\n',
    b'[["note", "x", {"what": 1}]]\n',
    b'[["raised"]]\n',
    b'[["save", 5]]\n',
    b'[["timer", {}, 1]]\n',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_nonsense_on_the_wire_harms_nobody(tmp_path, line):
    write = (
        f"import os\n    for fd in range(3, 12):\n        try: os.write(fd, {line!r})\n        except OSError: pass\n"
    )
    verdict = verdict_on(tmp_path, f"def on_ask(self, message, sender, ctx):\n    {write}")
    assert verdict.outcome in (Outcome.FAIL, Outcome.UNKNOWN) and "bug of the course" not in verdict.summary


@pytest.mark.parametrize("line", ["while True: pass", "ctx.reply(message, Answered(message.number))"])
def test_stop_is_noticed_while_a_handler_runs_and_between_two_calls(tmp_path, line):
    answer = answered(tmp_path, f"def on_ask(self, message, sender, ctx):\n    print('here', flush=True)\n    {line}\n")

    def stop():
        while not answer.printed:
            time.sleep(0.01)
        answer.interrupted.set()

    threading.Thread(target=stop, daemon=True).start()
    endless = dataclasses.replace(CASE, runs=10**6)
    verdict = run_check(exercise(lambda answer, run: _hold(answer, run, endless)), answer, seed=1)
    assert verdict.outcome is Outcome.UNKNOWN and verdict.summary == "you stopped the check"
