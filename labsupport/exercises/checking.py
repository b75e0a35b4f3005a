"""Run one exercise's check on one answer, and say in a `Verdict` what came out of it."""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeVar

from labsupport.errors import LabError
from labsupport.exercises.answer import STEP_S, Answer, ChildEnded, Gone, Interrupted
from labsupport.exercises.catalogue import Exercise
from labsupport.history import Outcome, Verdict
from labsupport.trace import Trace

T = TypeVar("T")
Lend = Callable[[type], AbstractContextManager[Any]]

MOST_EVENTS = 400  # of the run that goes into a verdict; a learner looks at its end


class Decided(Exception):
    """A check has come to a result other than *pass*."""

    def __init__(self, outcome: Outcome, summary: str, **fields: Any) -> None:
        super().__init__(summary)
        self.outcome, self.summary, self.fields = outcome, summary, fields


def new_server(kind: type) -> AbstractContextManager[Any]:
    """A server for one check alone."""
    return kind()


class Run:
    """One run of a check: where its cases come from and how it says what it found.

    Args:
        exercise: the exercise that is checked.
        seed: the cases are drawn from it.
        full: grading: more cases, longer, than a learner waits for in a notebook.
        lend: gives a server of a kind, such as RabbitMQ, for a ``with`` block; a grader lends the same one again and
            again, so a check works in a namespace of its own in it.
    """

    def __init__(
        self, exercise: Exercise, seed: int, full: bool, interrupted: threading.Event, lend: Lend = new_server
    ) -> None:
        self.exercise, self.seed, self.full, self.lend = exercise, seed, full, lend
        self.random = random.Random(f"{exercise.id}:{seed}")
        self._interrupted = interrupted

    def reject(
        self,
        misconception: str,
        summary: str,
        *,
        expected: object = "",
        got: object = "",
        evidence: Sequence[str] = (),
        trace: Trace | None = None,
        again: str = "",
    ) -> NoReturn:
        """End the check: the answer is wrong, for this reason.

        Args:
            misconception: its name in the exercise's list, or "" when none fits.
            summary: what happened, in the learner's terms.
            expected, got: the two sides of the comparison.
            evidence: the events that prove it, one line each.
            trace: the run that proves it, to be drawn.
            again: the line of Python that makes this run again.
        """
        if misconception and misconception not in self.exercise.misconceptions:
            raise LookupError(f"exercise {self.exercise.id} lists no misconception {misconception!r}")
        raise Decided(
            Outcome.FAIL,
            summary,
            misconception=misconception,
            expected=str(expected),
            got=str(got),
            evidence=tuple(evidence),
            trace=None if trace is None else trace.as_json(MOST_EVENTS),
            again=again,
        )

    def unknown(self, summary: str) -> NoReturn:
        """End the check without a judgement: the surroundings failed, not the answer."""
        raise Decided(Outcome.UNKNOWN, summary)

    def wait_until(self, condition: Callable[[], T], what: str, timeout_s: float = 30.0, every_s: float = 0.02) -> T:
        """Ask `condition` again and again until it says something true, and return that.

        Raises:
            TimeoutError: it did not in `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if self._interrupted.is_set():
                raise Interrupted
            if time.monotonic() >= deadline:
                raise TimeoutError(f"waited {timeout_s:g} s for {what}")
            time.sleep(every_s)
        return value


def run_check(exercise: Exercise, answer: Answer, *, seed: int, full: bool = False, lend: Lend = new_server) -> Verdict:
    """Check `answer`; whatever happens, the result is a verdict and nothing is left running.

    Raises:
        KeyboardInterrupt: the learner pressed stop; everything that the check started is gone.
    """
    run = Run(exercise, seed, full, answer.interrupted, lend)
    decided: list[Decided] = []
    # A thread of its own: in a notebook the kernel's event loop runs in the main thread, and a check may need one too.
    worker = threading.Thread(target=lambda: decided.append(_decide(exercise, answer, run)), name="check", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(STEP_S)
    except KeyboardInterrupt:
        answer.interrupted.set()
        worker.join(10)
        raise
    finally:
        answer.close()
    return _verdict(exercise, answer, run, decided[0])


def _decide(exercise: Exercise, answer: Answer, run: Run) -> Decided:
    try:
        tried = _tried(exercise, answer, run)
        return Decided(Outcome.PASS, tried or "all that was tried came out right")
    except Decided as decision:
        return decision
    except Interrupted:
        return Decided(Outcome.UNKNOWN, "you stopped the check")
    except ChildEnded as ended:
        return _ended(ended)
    except (TimeoutError, asyncio.TimeoutError) as timeout:
        return Decided(Outcome.FAIL, f"{timeout}, and it never happened", expected="it happens", got="nothing")
    except LabError as error:
        return Decided(Outcome.UNKNOWN, str(error))
    except Exception as bug:
        # A client of the check that loses its server in the middle of a call raises an error of its library's.
        for child in answer.children:
            if not child.running and child.broke_down:
                return _ended(ChildEnded(child, "an answer from it"))
        lines = traceback.format_exception(type(bug), bug, bug.__traceback__)
        return Decided(
            Outcome.UNKNOWN,
            "the check itself failed; this is a bug of the course, not yours",
            evidence=tuple("".join(lines).splitlines()[-12:]),
        )


def _tried(exercise: Exercise, answer: Answer, run: Run) -> str | None:
    try:
        tried = exercise.check(answer, run)
        return asyncio.run(tried) if inspect.iscoroutine(tried) else tried
    except Gone as gone:
        raise gone.reason from None


def _ended(ended: ChildEnded) -> Decided:
    child, failure = ended.child, ended.child.failure
    if failure:
        summary = f"your code raised {failure.kind} while the check waited for {ended.waiting_for}"
        return Decided(Outcome.FAIL, summary, expected="no exception", got=failure.lines[-1], evidence=failure.lines)
    how = f"by signal {-child.exit_status}" if (child.exit_status or 0) < 0 else f"with status {child.exit_status}"
    return Decided(Outcome.FAIL, f"your code's process ended {how} while the check waited for {ended.waiting_for}")


def _verdict(exercise: Exercise, answer: Answer, run: Run, decided: Decided) -> Verdict:
    if (missing := answer.not_started) and decided.outcome is not Outcome.PASS:
        where = missing.frames[-1] if missing.frames else None
        place = f", line {where[1]} of {where[2]}" if where else ""
        decided = Decided(Outcome.NOT_STARTED, f"still to write{place}: {missing.message or 'NotImplementedError'}")
    call = f"{exercise.call[:-1]}, seed={run.seed})"
    return Verdict(
        exercise=exercise.id,
        outcome=decided.outcome,
        summary=decided.summary,
        seed=run.seed,
        replay=call,
        printed=answer.printed,
        **decided.fields,
    )
