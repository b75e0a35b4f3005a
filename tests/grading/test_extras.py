"""An exercise whose lesson needs an extra group of packages: it is graded shut in, and a missing extra fails nobody."""

from __future__ import annotations

import pathlib

import pytest

from labsupport import environment
from labsupport.errors import SetupError
from labsupport.exercises import catalogue
from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import run_check
from labsupport.exercises.thriftrpc import calls
from labsupport.grading import sandbox
from labsupport.history import Outcome
from labsupport.view.cards import VerdictCard

RIGHT = pathlib.Path(__file__).resolve().parents[1] / "right_answers"


def answer_to(exercise: catalogue.Exercise) -> Answer:
    return Answer.from_file(exercise.takes, next((RIGHT / exercise.id).glob("*.py")))


def test_an_exercise_that_needs_an_extra_is_graded_inside_the_sandbox():
    if weak := sandbox.weaknesses():
        pytest.skip(f"nothing is hidden from the answer on this machine: {weak[0]}")
    exercise = catalogue.find("03.1")
    answer = answer_to(exercise)
    with sandbox.Sandbox(isolated=True) as place, place.cell() as cell:
        answer.launch = cell.launch
        verdict = run_check(exercise, answer, seed=1, full=True)
    assert verdict.outcome is Outcome.PASS, VerdictCard(verdict).text()


@pytest.mark.parametrize("exercise", catalogue.lesson("03").exercises, ids=lambda exercise: exercise.id)
def test_an_extra_that_cannot_be_brought_is_not_the_answers_fault(exercise, monkeypatch):
    def refuse(*names):
        raise SetupError("thrift cannot be installed here")

    monkeypatch.setattr(environment, "add", refuse)
    calls.definition.cache_clear()
    answer = answer_to(exercise)
    verdict = run_check(exercise, answer, seed=1, full=True)
    assert answer.children == [], "none of them can have failed for it"
    assert (verdict.outcome, verdict.summary) == (Outcome.UNKNOWN, "thrift cannot be installed here")
