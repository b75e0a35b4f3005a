"""The learner's exercise cells are found wherever they are, and what they need comes along."""

from __future__ import annotations

import json

import grading_course
import pytest
from grading_course import RIGHT

from labsupport.exercises import catalogue
from labsupport.grading import release, slicing
from labsupport.grading.assemble import Pristine
from labsupport.grading.notebooks import read

PRISTINE = Pristine.of(grading_course.LESSON, grading_course.FOLDER)


def assembled(whole) -> dict:
    cells, _ = read(json.dumps(whole).encode())
    return {one.exercise: one for one in PRISTINE.assemble(cells)}


def test_an_exercise_brings_only_the_statements_that_it_needs():
    parts = assembled(grading_course.notebook(RIGHT))["99.3"].parts
    assert [part.name for part in parts] == ["helpers", "x-99-3"]
    assert parts[0].source == grading_course.HELPERS


def test_line_numbers_are_those_of_the_cell():
    sources = ["a = 1\nb = 2\n\n@a\ndef f():\n    return b", "c = f"]
    assert slicing.slice_for(frozenset({"f"}), sources) == [(0, sources[0])]
    assert slicing.slice_for(frozenset({"b"}), sources) == [(0, "\nb = 2")]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("def f(x):\n    y = x\n    return y + z", {"z"}),
        (
            "class A(Base):\n    w = limit\n    async def g(self):\n        await other(self.w)",
            {"Base", "limit", "other"},
        ),
        ("[n for n in range(3) if keep(n)]", {"keep"}),
        ("import a\na.b()", set()),
        ("x = await start()", {"start"}),
        ("%time work()\n!ls", set()),
        ("def broken(:", set()),
    ],
)
def test_the_names_that_a_cell_takes_from_outside(source, wanted):
    assert slicing.used(source) - {"work"} == wanted


def test_the_learners_own_cell_wins_over_the_lessons():
    whole = grading_course.notebook(RIGHT)
    helpers = next(cell for cell in whole["cells"] if cell["id"] == "helpers")
    helpers["source"] = "import json\nheader = bytes"
    assert assembled(whole)["99.3"].parts[0].source == "import json\nheader = bytes"


def test_a_cell_before_the_exercise_wins_over_one_after_it():
    whole = grading_course.notebook(RIGHT)
    later = {"cell_type": "code", "id": "later", "metadata": {}, "source": "header = None"}
    whole["cells"].append(later)
    assert [part.name for part in assembled(whole)["99.3"].parts] == ["helpers", "x-99-3"]


def test_a_stub_in_another_form_is_still_a_stub():
    stubs = {id_: f"# mine\n{source}".replace("\n\n", "\n\n\n") for id_, source in grading_course.STUBS.items()}
    assert all(one.missing for one in assembled(grading_course.notebook(stubs)).values())


def test_what_python_warns_of_in_a_learners_code_is_not_the_graders_business(recwarn):
    assert slicing.bound("x = 1if 1else 2\ny = '\\d'") == {"x", "y"} and slicing.form("x = 1if 1else 2 # mine")
    assert list(recwarn) == []


@pytest.mark.parametrize("lesson", catalogue.lessons(), ids=lambda lesson: lesson.number)
def test_every_lesson_of_the_course_can_be_assembled_from_its_solution(lesson):
    pristine = Pristine.of(lesson)
    cells, odd = read((release.SOLUTIONS / f"{lesson.notebook}.ipynb").read_bytes())
    assert odd == [] and pristine.likeness(cells) > 100
    found = pristine.assemble(cells)
    assert [one.exercise for one in found] == [exercise.id for exercise in lesson.exercises]
    assert [one.missing for one in found] == [""] * len(found)
    assert [part.name for one in found for part in one.parts[:-1] if part.name.startswith("x-")] == []
