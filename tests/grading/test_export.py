"""An autograder is complete: laid out as Gradescope does it, it grades what is handed in, with nothing else at hand."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from labsupport import cli
from labsupport.errors import LearnerError
from labsupport.exercises import catalogue
from labsupport.grading import export, release

LESSON = catalogue.lesson("00")
NOTEBOOK = f"{LESSON.notebook}.ipynb"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def autograder(tmp_path_factory) -> pathlib.Path:
    """What is /autograder there."""
    place = tmp_path_factory.mktemp("gradescope")
    export.gradescope("00", place / "made", seed=7)
    root = place / "autograder"
    for name in ("source", "results", "submission", "home"):
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(place / "made.zip") as archive:
        archive.extractall(root / "source")
        for name in ("run_autograder", "setup.sh"):
            assert archive.getinfo(name).external_attr >> 16 == 0o755
            (root / "source" / name).chmod(0o755)
    return root


def run(autograder: pathlib.Path, *command: str) -> subprocess.CompletedProcess:
    """Run a command as Gradescope does: nothing of this process's environment but a Python that has the packages."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.defpath])
    environment = {"PATH": path, "HOME": str(autograder / "home"), "AUTOGRADER": str(autograder)}
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=300)


def handed_in(autograder: pathlib.Path, data: bytes, name: str = "Untitled3.ipynb") -> dict:
    for old in (autograder / "submission").iterdir():
        old.unlink()
    (autograder / "submission" / name).write_bytes(data)
    (autograder / "results" / "results.json").unlink(missing_ok=True)
    done = run(autograder, str(autograder / "source" / "run_autograder"))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((autograder / "results" / "results.json").read_text("utf-8"))


def with_answer(exercise: str, answer: pathlib.Path) -> bytes:
    """The lesson as it was given out, with one exercise answered."""
    whole = json.loads((release.LESSONS / NOTEBOOK).read_text("utf-8"))
    (cell,) = [cell for cell in whole["cells"] if cell["id"] == f"x-{exercise.replace('.', '-')}"]
    cell["source"] = answer.read_text("utf-8")
    return json.dumps(whole).encode()


def test_right_answers_get_full_marks(autograder):
    told = handed_in(autograder, (release.SOLUTIONS / NOTEBOOK).read_bytes())
    assert [(test["number"], test["status"]) for test in told["tests"]] == [("00.1", "passed"), ("00.2", "passed")]
    assert told["score"] == sum(test["max_score"] for test in told["tests"]) == LESSON.points


def test_a_wrong_answer_is_told_its_misconception_and_a_blank_one_that_it_is_blank(autograder):
    wrong = ROOT / "tests" / "wrong_answers" / "00.1" / "answers_twice.py"
    told = handed_in(autograder, with_answer("00.1", wrong))
    assert told["score"] == 0 and [test["status"] for test in told["tests"]] == ["failed", "failed"]
    assert LESSON.exercises[0].misconceptions["answers_twice"] in told["tests"][0]["output"]
    assert "as it was given out" in told["tests"][1]["output"]


def test_what_cannot_be_graded_gets_no_points_and_the_reason(autograder):
    told = handed_in(autograder, b"no notebook")
    assert told["score"] == 0 and "Untitled3.ipynb: the file is no JSON" in told["output"]


def test_what_is_no_notebook_gets_no_points_and_the_name_of_what_was_asked_for(autograder):
    told = handed_in(autograder, b"answer = 42", "answer.py")
    assert told["score"] == 0 and told["output"].endswith(f"hand in {NOTEBOOK}")


def test_another_lessons_notebook_gets_no_points(autograder):
    told = handed_in(autograder, (release.SOLUTIONS / "12_work_queues.ipynb").read_bytes())
    assert told["score"] == 0 and "missing" in told["tests"][0]["output"]


def test_an_image_in_which_the_solved_notebook_fails_is_not_made(autograder):
    script = (autograder / "source" / "setup.sh").read_text("utf-8")
    (prove,) = [line for line in script.splitlines() if line.endswith("--prove")]
    solved = autograder / "source" / "course" / "solutions" / NOTEBOOK
    assert solved.read_bytes() == (release.SOLUTIONS / NOTEBOOK).read_bytes()
    command = ["sh", "-c", f"cd {autograder}/source/course && {prove}"]
    assert run(autograder, *command).returncode == 0
    solved.write_bytes((release.LESSONS / NOTEBOOK).read_bytes())
    failed = run(autograder, *command)
    assert failed.returncode != 0 and "00.1: the exercise cell is as it was given out" in failed.stderr


def test_the_course_in_it_is_the_one_that_learners_get(autograder):
    course = autograder / "source" / "course"
    names = {path.relative_to(course).as_posix() for path in course.rglob("*") if path.is_file()}
    kept = {name for name in names if "__pycache__" not in name}
    assert kept == {*release.given_out(), f"solutions/{NOTEBOOK}"}


def test_a_lesson_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(LearnerError, match="no lesson 77"):
        export.gradescope("77", tmp_path / "out", seed=7)


def test_why_there_is_no_export_for_otter_is_said(tmp_path, capsys):
    assert cli.main(["export", "otter", "00", "--out", str(tmp_path / "out")]) == 2
    assert "forge their results" in capsys.readouterr().err and not (tmp_path / "out").exists()
