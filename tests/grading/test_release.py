"""The learners' notebooks are made from the solved ones by rules that hold for every cell."""

from __future__ import annotations

import json
import re
import zipfile

import pytest

from labsupport.errors import LabBug, LearnerError
from labsupport.exercises import catalogue
from labsupport.grading import release


def notebook(*cells: dict) -> str:
    whole = [{"cell_type": "code", "execution_count": 3, "metadata": {}, "outputs": [], **cell} for cell in cells]
    return json.dumps({"cells": whole, "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5})


def released(*cells: dict) -> list[dict]:
    return json.loads(release.learners_text(notebook(*cells)))["cells"]


def test_lessons_is_what_solutions_gives():
    assert release.outdated() == {}


def test_a_solution_region_becomes_its_stub_at_its_indent():
    solved = (
        "def f():\n    ### BEGIN SOLUTION\n    #: raise NotImplementedError('f')\n    return 1\n    ### END SOLUTION\n"
    )
    assert release.without_solution(solved, "x") == "def f():\n    raise NotImplementedError('f')\n"


def test_a_region_without_a_stub_raises_not_implemented():
    solved = "### BEGIN SOLUTION\nx = 1\n### END SOLUTION"
    assert release.without_solution(solved, "x") == 'raise NotImplementedError("your code here")'


@pytest.mark.parametrize(
    "solved",
    [
        "### BEGIN SOLUTION\nx = 1",
        "x = 1\n### END SOLUTION",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
        "x = 1  ### BEGIN SOLUTION\n### END SOLUTION",
    ],
)
def test_unpaired_marks_are_refused_by_the_cells_name(solved):
    with pytest.raises(LabBug, match="cell x-9-9"):
        release.without_solution(solved, "x-9-9")


def test_outputs_and_counts_are_stripped_and_ids_kept():
    output = {"output_type": "stream", "name": "stdout", "text": "secret"}
    (cell,) = released({"id": "a-cell", "source": "1", "outputs": [output]})
    assert cell["outputs"] == [] and cell["execution_count"] is None and cell["id"] == "a-cell"


def test_cells_for_instructors_are_left_out():
    kept = {"id": "kept", "source": "1"}
    assert [
        cell["id"] for cell in released(kept, {"id": "x", "source": "2", "metadata": {"tags": ["instructor-only"]}})
    ] == ["kept"]


def test_exercise_and_check_cells_carry_nbgraders_metadata():
    exercise, check = released(
        {"id": "x-00-1", "source": "x", "metadata": {"tags": ["exercise"]}},
        {"id": "check-00-1", "source": 'check("00.1", echo)', "metadata": {"tags": ["check"]}},
    )
    assert exercise["metadata"]["nbgrader"] == {
        "grade": False,
        "grade_id": "x-00-1",
        "locked": False,
        "schema_version": 3,
        "solution": True,
        "task": False,
    }
    assert check["metadata"]["nbgrader"]["points"] > 0 and check["metadata"]["nbgrader"]["locked"]
    assert check["metadata"]["editable"] is False


@pytest.mark.parametrize("lesson", catalogue.lessons(), ids=lambda lesson: lesson.number)
def test_nbgraders_schema_holds_for_every_cell(lesson):
    """https://github.com/jupyter/nbgrader, nbgrader/nbgraderformat/v3.json, and its CheckCellMetadata."""
    cells = json.loads((release.LESSONS / f"{lesson.notebook}.ipynb").read_text("utf-8"))["cells"]
    marked = [(cell, cell["metadata"]["nbgrader"]) for cell in cells if "nbgrader" in cell["metadata"]]
    for cell, told in marked:
        assert cell["cell_type"] == "code" and told["schema_version"] == 3
        assert set(told) - {"points"} == {"schema_version", "grade", "solution", "locked", "task", "grade_id"}
        assert all(type(told[name]) is bool for name in ("grade", "solution", "locked", "task"))
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", told["grade_id"])
        assert ("points" in told) == told["grade"] and (told["grade"], told["locked"]) == (not told["solution"],) * 2
    assert len({told["grade_id"] for _, told in marked}) == len(marked) == 2 * len(lesson.exercises)
    assert sum(told.get("points", 0) for _, told in marked) == lesson.points
    signs = "BEGIN SOLUTION|END SOLUTION|HIDDEN TESTS|MARK SCHEME|AUTOTEST|HASHED"
    assert [cell["id"] for cell in cells if re.search(signs, "".join(cell["source"]))] == []


def test_the_same_notebook_gives_the_same_bytes_and_a_released_one_gives_itself():
    text = notebook({"id": "a", "source": "### BEGIN SOLUTION\n1\n### END SOLUTION"})
    once = release.learners_text(text)
    assert release.learners_text(text) == once == release.learners_text(once)


@pytest.mark.parametrize("ids", [("a", "a"), ("A b",), ("",)])
def test_ids_must_be_readable_and_there_once(ids):
    with pytest.raises((LabBug, ValueError)):
        released(*({"id": cell_id, "source": "1"} for cell_id in ids))


def test_the_bundle_for_learners_has_lessons_and_the_package_and_nothing_to_copy_from(tmp_path):
    names = release.bundle(tmp_path / "course")
    assert {name.split("/")[0] for name in names} == set(release.FOR_LEARNERS)
    assert [name for name in names if "solution" in name or "wrong_answers" in name or "__pycache__" in name] == []
    assert (tmp_path / "course/lessons/00_start_here.ipynb").read_bytes() == (
        release.LESSONS / "00_start_here.ipynb"
    ).read_bytes()
    with zipfile.ZipFile(tmp_path / "course.zip") as archive:
        assert archive.namelist() == [f"course/{name}" for name in names]


def test_the_bundles_zip_file_is_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        release.bundle(tmp_path / name / "course")
    assert (tmp_path / "one/course.zip").read_bytes() == (tmp_path / "two/course.zip").read_bytes()


def test_a_bundle_never_overwrites(tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(LearnerError, match="is there already"):
        release.bundle(tmp_path)
