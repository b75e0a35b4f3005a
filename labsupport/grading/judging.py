"""Grade the exercises of one submission: its code runs in the sandbox, the checks decide here."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from labsupport.exercises.answer import Answer
from labsupport.exercises.catalogue import Exercise
from labsupport.exercises.checking import Lend, new_server, run_check
from labsupport.grading.assemble import Assembled
from labsupport.grading.execution import NotDefined, Notebook
from labsupport.grading.sandbox import Cell, Sandbox, timer
from labsupport.history import Outcome, Verdict

TRIES = 2  # of a check that comes to no judgement: the machine may have been busy
AT_ONCE_S = 2.0  # for a cell while all exercises run in one notebook; one that needs more runs again, alone


class Sitting:
    """One submission before its judge; use it as a context manager.

    All exercises run in one notebook first, as they did when they were written. If one of them misbehaves there, by an
    exception, its death or its length, each is run in a notebook of its own instead, so that it harms itself only.
    Each check begins in a part of the sandbox in which nothing runs.

    Args:
        sandbox: where the code runs.
        work: the exercises, with what has to run for them.
        seed: the checks' cases are drawn from it.
        timeout_s: how long each check may take.
        cell_s: how long each of the learner's cells may run.
        path: directories of modules that the lesson's cells would have made.
        lend: where checks get their servers from.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        work: Sequence[tuple[Exercise, Assembled]],
        *,
        seed: int,
        timeout_s: float,
        cell_s: float,
        path: Sequence[str] = (),
        lend: Lend = new_server,
    ) -> None:
        self._sandbox, self._seed, self._timeout_s, self._cell_s = sandbox, seed, timeout_s, cell_s
        self._path, self._lend = path, lend
        self._cell: Cell | None = None
        self._answers = self._all_at_once([one for one in work if one[1].parts])

    def judge(self, exercise: Exercise, assembled: Assembled) -> Verdict:
        """The verdict on one exercise; whatever the submission does, it is a verdict."""
        if assembled.missing:
            return _verdict(exercise, self._seed, Outcome.NOT_STARTED, assembled.missing)
        for _ in range(TRIES):
            try:
                answer = self._answers.pop(exercise.id, None) or self._alone(exercise, assembled)
            except NotDefined as lacking:
                return _not_defined(exercise, self._seed, lacking)
            answer.launch = self._empty_cell().launch
            verdict = self._checked(exercise, answer)
            if verdict.outcome is not Outcome.UNKNOWN:
                break
        return verdict

    def _all_at_once(self, work: Sequence[tuple[Exercise, Assembled]]) -> dict[str, Answer]:
        """The answers to all exercises, or to none."""
        if len(work) < 2:
            return {}
        limit_s = min(AT_ONCE_S, self._cell_s)
        with contextlib.suppress(NotDefined), Notebook(self._empty_cell(), limit_s, self._path) as notebook:
            return {exercise.id: notebook.take(exercise, assembled) for exercise, assembled in work}
        return {}

    def _alone(self, exercise: Exercise, assembled: Assembled) -> Answer:
        with Notebook(self._empty_cell(), self._cell_s, self._path) as notebook:
            return notebook.take(exercise, assembled)

    def _empty_cell(self) -> Cell:
        """A cell of the sandbox in which nothing runs: the last one, if all has ended there."""
        if self._cell is not None and not self._cell.is_empty():
            self._cell.close()
            self._cell = None
        if self._cell is None:
            self._cell = self._sandbox.cell()
        return self._cell

    def _checked(self, exercise: Exercise, answer: Answer) -> Verdict:
        with timer(self._timeout_s, answer.interrupted.set):
            verdict = run_check(exercise, answer, seed=self._seed, full=True, lend=self._lend)
        if verdict.outcome is Outcome.UNKNOWN and answer.interrupted.is_set():
            summary = f"the check was not done with your code after {self._timeout_s:g} seconds"
            return dataclasses.replace(verdict, outcome=Outcome.FAIL, summary=summary)
        return verdict

    def __enter__(self) -> Sitting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._cell is not None:
            self._cell.close()


def _not_defined(exercise: Exercise, seed: int, lacking: NotDefined) -> Verdict:
    failure = lacking.failure
    if failure and failure.kind == "NotImplementedError":
        return _verdict(exercise, seed, Outcome.NOT_STARTED, f"still to write: {failure.message or failure.kind}")
    lines = failure.lines if failure else ()
    more = {"expected": "no exception", "got": lines[-1]} if lines else {}
    return _verdict(
        exercise, seed, Outcome.FAIL, lacking.summary, evidence=tuple(lines), printed=lacking.printed, **more
    )


def _verdict(exercise: Exercise, seed: int, outcome: Outcome, summary: str, **more: Any) -> Verdict:
    call = f"{exercise.call[:-1]}, seed={seed})"
    return Verdict(exercise.id, outcome, summary, seed=seed, replay=call, **more)
