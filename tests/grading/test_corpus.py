"""Every broken or hostile notebook gets its own right mark, harms nobody, and leaves nothing."""

from __future__ import annotations

import json
import pathlib

import grading_corpus
import grading_course
import pytest

OUTSIDE = dict.fromkeys(("secret", "file", "folder", "results", "marker", "port"), "1")


def test_the_corpus_is_large_enough():
    assert len(grading_corpus.cases(OUTSIDE)) >= 90


def test_the_pristine_notebook_is_what_the_course_makes():
    kept = json.loads((grading_course.FOLDER / "99_small.ipynb").read_text("utf-8"))
    assert kept == grading_course.notebook()


@pytest.mark.parametrize("name", sorted(grading_corpus.cases(OUTSIDE)))
def test_a_notebook_gets_the_mark_that_it_deserves(corpus, name):
    assert corpus.outcomes(name) == corpus.cases[name].outcomes


@pytest.mark.parametrize("name", sorted(name for name, case in grading_corpus.cases(OUTSIDE).items() if case.says))
def test_the_instructor_is_told_what_is_odd(corpus, name):
    lines = [line for line in corpus.results.problems if line.startswith((f"{name}:", f"{name}_"))]
    assert any(corpus.cases[name].says in line for line in lines), lines


def test_nobody_is_reported_without_a_reason(corpus):
    quiet = {name for name, case in corpus.cases.items() if not case.says}
    assert [line for line in corpus.results.problems if line.partition(":")[0] in quiet] == []


def test_nothing_is_left_running(corpus):
    assert corpus.left == []


def test_the_network_outside_was_not_reached(corpus):
    assert corpus.reached == []


def test_no_command_ran_in_the_grader(corpus):
    assert not pathlib.Path(corpus.outside["marker"]).exists()


def test_the_results_are_the_graders_own(corpus):
    text = pathlib.Path(corpus.outside["results"]).read_text("utf-8")
    assert text.startswith("learner,id,99.1") and "full marks" not in text


def test_a_known_mistake_is_named(corpus):
    (learner,) = [one for one in corpus.results.learners if one.name == "knows_a_misconception"]
    assert learner.papers[0].marked[0].verdict.misconception == "ignores_the_message"


def test_an_exception_is_shown_with_the_line_of_the_cell(corpus):
    (learner,) = [one for one in corpus.results.learners if one.name == "raises_before_it_defines"]
    assert learner.papers[0].marked[0].verdict.evidence[0] == "your cell, line 1, in <module>: 1 / 0"
