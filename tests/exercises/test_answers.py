"""The checks are tested by the answers that learners give: right ones pass, each wrong one is caught by its name."""

from __future__ import annotations

import pathlib

import pytest

from labsupport.exercises import catalogue
from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import run_check
from labsupport.history import Outcome
from labsupport.view.cards import VerdictCard

TESTS = pathlib.Path(__file__).resolve().parents[1]


def answers(kind: str) -> list:
    files = sorted((TESTS / kind).glob("*/*.py"))
    return [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in files]


def verdict_on(path: pathlib.Path, seed: int):
    exercise = catalogue.find(path.parent.name)
    return run_check(exercise, Answer.from_file(exercise.takes, path), seed=seed)


@pytest.mark.parametrize("path", answers("right_answers"))
def test_a_right_answer_passes(path):
    verdict = verdict_on(path, seed=2)
    assert verdict.outcome is Outcome.PASS, VerdictCard(verdict).text()


@pytest.mark.parametrize("path", answers("wrong_answers"))
def test_a_wrong_answer_is_caught_by_the_name_of_its_misconception(path):
    verdict = verdict_on(path, seed=2)
    assert (verdict.outcome, verdict.misconception) == (Outcome.FAIL, path.stem), VerdictCard(verdict).text()
    assert verdict.summary and verdict.evidence, VerdictCard(verdict).text()


def test_a_worker_that_is_dead_before_the_check_looks_again_is_caught_as_well(monkeypatch):
    terminate = Child.terminate
    monkeypatch.setattr(Child, "terminate", lambda child: (terminate(child), child.wait(1)))
    verdict = verdict_on(TESTS / "wrong_answers" / "12.1" / "dies_at_sigterm.py", seed=2)
    assert verdict.misconception == "dies_at_sigterm", VerdictCard(verdict).text()
