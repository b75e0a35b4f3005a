"""Copied answers are found through their disguise; answers written apart, and what everybody was given, are not."""

from __future__ import annotations

import json
import pathlib
import re

import grading_course
import pytest
from grading_course import RIGHT, STUBS

from labsupport.exercises import catalogue
from labsupport.grading import release, similarity
from labsupport.grading.assemble import Pristine
from labsupport.grading.notebooks import read

SMALL = Pristine.of(grading_course.LESSON, grading_course.FOLDER)
RING = RIGHT["99.5"]
RENAMED = re.sub(r"\bkey\b", "item", re.sub(r"\bplace\b", "where", re.sub(r"\bring\b", "circle", RING)))
RENAMED = RENAMED.replace("    ring", "    # I thought of this\n\n    ring").replace("import bisect, hashlib\n", "")
APART = '''from hashlib import sha256

def owner(key, nodes):
    """The node that follows the key."""
    wanted = int(sha256(key.encode()).hexdigest()[:16], 16)
    best = first = None
    for node in nodes:
        at = int(sha256(node.encode()).hexdigest()[:16], 16)
        if first is None or at < first[0]:
            first = at, node
        if at >= wanted and (best is None or at < best[0]):
            best = at, node
    return (best or first)[1]'''


def found(pristine=SMALL, exercise="99.5", **answers):
    return similarity.groups((learner, pristine, {exercise: source}) for learner, source in answers.items())


def test_a_copy_with_other_names_and_comments_is_found():
    (group,) = found(ann=RING, bob=RENAMED, cy=APART)
    assert (group.exercise, group.learners) == ("99.5", ("ann", "bob")) and group.share > 0.9


def test_a_copy_in_another_order_is_found():
    clock = RIGHT["99.1"].split("    def ")
    (group,) = found(
        exercise="99.1", ann="    def ".join(clock), bob="    def ".join([clock[0], clock[3], *clock[1:3]])
    )
    assert group.learners == ("ann", "bob")


def test_all_who_copied_from_one_another_are_one_group():
    (group,) = found(dan=RING, ann=RENAMED, cy=APART, bob=f"{RING}\n")
    assert group.learners == ("ann", "bob", "dan")


def test_what_was_given_out_does_not_count():
    assert found(exercise="99.1", ann=STUBS["99.1"], bob=f"{STUBS['99.1']}\nx = 1") == ()


def test_our_solution_does_not_count():
    for lesson in catalogue.lessons():
        pristine = Pristine.of(lesson)
        written = pristine.written(read((release.SOLUTIONS / f"{lesson.notebook}.ipynb").read_bytes())[0])
        assert set(written) == {exercise.id for exercise in lesson.exercises}
        assert similarity.groups([("ann", pristine, written), ("bob", pristine, written)]) == ()


@pytest.mark.parametrize("exercise", [one.id for lesson in catalogue.lessons() for one in lesson.exercises])
def test_right_answers_that_were_written_apart_are_not_alike(exercise):
    folder = pathlib.Path(__file__).parents[1] / "right_answers" / exercise
    answers = {path.stem: path.read_text("utf-8") for path in folder.glob("*.py")}
    assert found(Pristine.of(catalogue.lesson(exercise[:2])), exercise, **answers) == ()


@pytest.mark.parametrize("source", ["", "def broken(:", "'''" * 30_000, "((" * 30_000, "\0", "x " * 90_000])
def test_code_that_nobody_can_read_is_like_itself_at_most(source):
    assert len(found(ann=source, bob=source, cy=RING)) <= 1


def test_only_the_cells_that_were_changed_are_answers():
    cells, _ = read(json.dumps(grading_course.notebook({"99.2": "x = 1"})).encode())
    assert SMALL.written(cells) == {"99.2": "x = 1"}
