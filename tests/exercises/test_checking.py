"""A check survives whatever an answer does, says so in words, and leaves nothing behind."""

from __future__ import annotations

import os
import threading
import time

import psutil
import pytest

from labsupport.errors import LearnerError, ServiceError
from labsupport.exercises.answer import Answer
from labsupport.exercises.catalogue import Exercise
from labsupport.exercises.checking import run_check
from labsupport.history import Outcome


def call_it(given, tell, **args):
    """A driver: call the learner's function and report what it returns."""
    tell("calling")
    return given.work(**args)


async def call_it_async(given, tell):
    return await given.work()


def exercise(check, **more) -> Exercise:
    fields = {"misconceptions": {"too_small": "It is too small."}, "hints": ("a", "b", "c"), **more}
    return Exercise(id="99.1", title="a test", points=1, takes=("work",), check=check, **fields)


def result_of(answer, run):
    with answer.start(call_it) as child:
        return f"returned {child.result(20)}"


def verdict_on(work, check=result_of, seed=1):
    return run_check(exercise(check), Answer.of(("work",), (work,)), seed=seed)


def from_source(tmp_path, source, check=result_of):
    path = tmp_path / "work.py"
    path.write_text(source)
    return run_check(exercise(check), Answer.from_file(("work",), path), seed=1)


def test_a_function_defined_here_runs_in_another_process():
    here = os.getpid()

    def work():
        return os.getpid() != here

    assert verdict_on(work).summary == "returned True"


def test_an_answer_that_is_not_written_yet_is_not_started_and_says_where(tmp_path):
    verdict = from_source(tmp_path, "def work():\n    raise NotImplementedError('count them')\n")
    assert verdict.outcome is Outcome.NOT_STARTED
    assert "line 2 of work: count them" in verdict.summary


def test_not_started_wins_over_what_the_check_saw_of_it(tmp_path):
    def check(answer, run):
        with answer.start(call_it) as child:
            child.wait(20)
            run.reject("too_small", "nothing came")

    assert from_source(tmp_path, "def work(): raise NotImplementedError", check).outcome is Outcome.NOT_STARTED


def test_an_exception_is_shown_with_the_learners_frames_only(tmp_path):
    source = "import json\ndef helper(text):\n    return json.loads(text)\ndef work():\n    return helper('{')\n"
    verdict = from_source(tmp_path, source)
    assert verdict.outcome is Outcome.FAIL
    assert "JSONDecodeError" in verdict.summary
    assert [line.split(":")[0] for line in verdict.evidence[-3:-1]] == [
        "work.py, line 5, in work",
        "work.py, line 3, in helper",
    ]


def test_a_syntax_error_is_a_failure_in_words(tmp_path):
    verdict = from_source(tmp_path, "def work(:\n")
    assert verdict.outcome is Outcome.FAIL and "SyntaxError" in verdict.summary


def test_an_answer_without_the_wanted_name_says_which(tmp_path):
    assert "does not define work" in from_source(tmp_path, "x = 1\n").got


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\ndef work(): os._exit(3)", "with status 3"),
        ("import os, signal\ndef work(): os.kill(os.getpid(), signal.SIGKILL)", "by signal 9"),
        ("import sys\ndef work(): sys.exit(0)", "SystemExit"),
    ],
)
def test_an_answer_that_ends_its_process_fails_and_the_check_goes_on(tmp_path, source, said):
    verdict = from_source(tmp_path, source)
    assert verdict.outcome is Outcome.FAIL and said in verdict.summary


def test_a_hang_is_waited_for_only_so_long_and_its_process_is_gone(tmp_path):
    pids = []

    def check(answer, run):
        child = answer.start(call_it)
        pids.append(child.pid)
        child.expect("calling")
        child.result(0.2, "the answer to return")

    verdict = from_source(tmp_path, "import time\ndef work(): time.sleep(3600)", check)
    assert verdict.outcome is Outcome.FAIL and "waited 0.2 s for the answer to return" in verdict.summary
    assert not psutil.pid_exists(pids[0])


def test_a_flood_of_output_neither_blocks_the_answer_nor_fills_the_verdict(tmp_path):
    verdict = from_source(tmp_path, "def work():\n    for _ in range(20000): print('x' * 1000)\n    return 1\n")
    assert verdict.summary == "returned 1"
    assert 1000 < len(verdict.printed) < 20_000


def test_grandchildren_die_with_the_check(tmp_path):
    source = (
        "import subprocess, sys\n"
        "def work():\n"
        "    return subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)']).pid\n"
    )
    verdict = from_source(tmp_path, source)
    pid = int(verdict.summary.split()[-1])
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_a_named_rejection_carries_its_evidence_and_the_line_that_replays_it():
    def check(answer, run):
        run.reject("too_small", "3 is less than 4", expected=4, got=3, evidence=["sent 3"])

    verdict = verdict_on(print, check, seed=7)
    assert (verdict.outcome, verdict.misconception, verdict.expected, verdict.got) == (
        Outcome.FAIL,
        "too_small",
        "4",
        "3",
    )
    assert verdict.evidence == ("sent 3",)
    assert verdict.replay == 'check("99.1", work, seed=7)'


def test_a_misconception_that_the_exercise_does_not_list_is_our_bug():
    verdict = verdict_on(print, lambda answer, run: run.reject("no_such", "x"))
    assert verdict.outcome is Outcome.UNKNOWN and "bug of the course" in verdict.summary


def test_a_broken_service_is_nobodys_failure():
    def check(answer, run):
        raise ServiceError("the broker died", cause="out of memory", do="try again")

    verdict = verdict_on(print, check)
    assert verdict.outcome is Outcome.UNKNOWN and "What to do: try again" in verdict.summary


def test_cases_come_from_the_seed_alone():
    def drawn(seed):
        return verdict_on(print, lambda answer, run: str([run.random.random() for _ in range(3)]), seed).summary

    assert drawn(1) == drawn(1) != drawn(2)


def test_an_async_driver_and_an_async_check_work_together():
    async def check(answer, run):
        with answer.start(call_it_async) as child:
            return child.result(20)

    async def work():
        return "done"

    assert verdict_on(work, check).summary == "done"


def test_events_are_found_by_name_and_others_keep_their_order(tmp_path):
    def check(answer, run):
        with answer.start(tell_three) as child:
            names = [child.expect("two")["event"], *(event["event"] for event in child.events())]
            return " ".join(names)

    assert from_source(tmp_path, "def work(): pass", check).summary == "two one three"


def tell_three(given, tell):
    for name in ("one", "two", "three"):
        tell(name)


def test_something_that_cannot_leave_the_process_is_refused_with_advice():
    lock = threading.Lock()

    def work():
        return lock

    with pytest.raises(LearnerError, match="inside the function"):
        Answer.of(("work",), (work,))


def test_bytes_on_an_unknown_descriptor_are_not_taken_for_events(tmp_path):
    source = (
        "import os\n"
        "def work():\n"
        "    for fd in range(3, 20):\n"
        "        try: os.write(fd, b'not json\\n')\n"
        "        except OSError: pass\n"
        "    return 5\n"
    )
    assert from_source(tmp_path, source).summary == "returned 5"


def test_a_client_error_of_the_check_is_put_down_to_the_answer_that_died(tmp_path):
    def check(answer, run):
        with answer.start(call_it) as child:
            child.wait(20)
            raise ConnectionError("the server is gone")

    died = from_source(tmp_path, "import os\ndef work(): os._exit(3)", check)
    assert died.outcome is Outcome.FAIL and "with status 3" in died.summary
    lived = from_source(tmp_path, "def work(): return 1", check)
    assert lived.outcome is Outcome.UNKNOWN
