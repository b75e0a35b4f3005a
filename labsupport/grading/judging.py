"""Grade one exercise of one submission: run its code in the sandbox, let the check decide here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from labsupport.exercises.answer import Answer
from labsupport.exercises.catalogue import Exercise
from labsupport.exercises.checking import run_check
from labsupport.grading.assemble import Assembled
from labsupport.grading.execution import NotDefined, executed
from labsupport.grading.sandbox import Sandbox, timer
from labsupport.history import Outcome, Verdict

TRIES = 2  # of a check that comes to no judgement: the machine may have been busy


def judge(
    sandbox: Sandbox,
    exercise: Exercise,
    assembled: Assembled,
    *,
    seed: int,
    timeout_s: float,
    cell_s: float,
    path: Sequence[str] = (),
) -> Verdict:
    """The verdict on one exercise; whatever the submission does, it is a verdict.

    Args:
        sandbox: where its code runs.
        exercise: which.
        assembled: what has to run.
        seed: the check's cases are drawn from it.
        timeout_s: how long the check may take.
        cell_s: how long each cell may run.
        path: directories of modules that the lesson's cells would have made.
    """
    if assembled.missing:
        return _verdict(exercise, seed, Outcome.NOT_STARTED, assembled.missing)
    for _ in range(TRIES):
        with sandbox.cell() as cell:
            try:
                answer = executed(cell, exercise, assembled, cell_s, path)
            except NotDefined as lacking:
                return _not_defined(exercise, seed, lacking)
            answer.launch = cell.launch
            verdict = _checked(exercise, answer, seed, timeout_s)
        if verdict.outcome is not Outcome.UNKNOWN:
            break
    return verdict


def _checked(exercise: Exercise, answer: Answer, seed: int, timeout_s: float) -> Verdict:
    with timer(timeout_s, answer.interrupted.set):
        verdict = run_check(exercise, answer, seed=seed, full=True)
    if verdict.outcome is Outcome.UNKNOWN and answer.interrupted.is_set():
        summary = f"the check was not done with your code after {timeout_s:g} seconds"
        return dataclasses.replace(verdict, outcome=Outcome.FAIL, summary=summary)
    return verdict


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
