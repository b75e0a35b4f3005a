"""An exercise whose lesson needs an extra group of packages is graded where only the sandbox's own files are seen."""

from __future__ import annotations

import pathlib

import pytest

from labsupport.exercises import catalogue
from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import run_check
from labsupport.grading import sandbox
from labsupport.history import Outcome
from labsupport.view.cards import VerdictCard

ANSWER = pathlib.Path(__file__).resolve().parents[1] / "right_answers" / "03.1" / "a_table_of_functions.py"


def test_an_exercise_that_needs_an_extra_is_graded_inside_the_sandbox():
    if weak := sandbox.weaknesses():
        pytest.skip(f"nothing is hidden from the answer on this machine: {weak[0]}")
    exercise = catalogue.find("03.1")
    answer = Answer.from_file(exercise.takes, ANSWER)
    with sandbox.Sandbox(isolated=True) as place, place.cell() as cell:
        answer.launch = cell.launch
        verdict = run_check(exercise, answer, seed=1, full=True)
    assert verdict.outcome is Outcome.PASS, VerdictCard(verdict).text()
