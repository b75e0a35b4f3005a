"""A class is graded once, whatever interrupts it, and the results have the forms that others read."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import grading_course
import pytest
from grading_course import RIGHT

from labsupport.errors import LearnerError
from labsupport.grading import isolation, results, sandbox
from labsupport.services import reaper
from tests.grading.classes import CORPUS, graded, outcomes, sandboxed

PROGRAM = """
import pathlib, sys
from labsupport.grading import grade
options = grade.Options(modules=("grading_course",), path=(sys.argv[3],), seed=7, jobs=2)
grade.grade([sys.argv[1]], pathlib.Path(sys.argv[2]), options, lambda done, of: print(done, flush=True))
"""


def hand_in(folder, answers):
    for name, answer in answers.items():
        folder.mkdir(exist_ok=True)
        whole = grading_course.notebook(answer)
        whole["metadata"]["of"] = name  # no two files are the same
        (folder / f"{name}_99_small.ipynb").write_text(json.dumps(whole), "utf-8")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    wrong = RIGHT | {"99.1": RIGHT["99.1"].replace("max(self.time, time)", "self.time")}
    hand_in(folder / "in", {"ann": RIGHT, "=bob, <b>": wrong, "cy": {}})
    changes = folder / "changes.csv"
    changes.write_text(
        "learner,lesson,points,late,comment\nann,,,yes,well done\ncy,99,1.5,,\nnobody,,1,,\ncy,1,2,no,\n"
    )
    found = graded([folder / "in"], folder / "out", changes=results.changes(changes), late_percent=10)
    return found, folder / "out"


def test_points_are_those_of_the_verdicts(small):
    points = {learner.name: learner.papers[0].earned for learner in small[0].learners}
    assert points == {"ann": 10, "=bob, <b>": 8, "cy": 0}


def test_dates_and_people_change_points(small):
    points = {learner.name: learner.points for learner in small[0].learners}
    assert points == {"ann": 9, "=bob, <b>": 8, "cy": 1.5}
    assert small[0].problems == (
        "nobody: is named in the table of changes, and has handed in nothing",
        "cy: is named in the table of changes for lesson 01, and has handed in nothing",
    )


def test_the_json_has_the_shape_of_the_design(small):
    told = json.loads((small[1] / "grades.json").read_text("utf-8"))
    ann = next(one for one in told["learners"] if one["learner"] == "ann")
    assert set(ann) == {"learner", "lessons"}
    assert ann["lessons"][0]["exercises"][0] == {
        "id": "99.1",
        "verdict": "pass",
        "points": 2,
        "misconception": "",
        "message": "40 steps of a clock",
    }


def test_tables_can_be_read_back_and_hold_no_formula(small):
    with (small[1] / "grades.csv").open(newline="") as file:
        rows = {row["learner"]: row for row in csv.DictReader(file)}
    assert rows["'=bob, <b>"]["99.1"] == "0" and rows["ann"]["points"] == "9" and rows["ann"]["comment"] == "well done"
    with (small[1] / "canvas.csv").open(newline="") as file:
        header, possible, *rest = csv.reader(file)
    assert header[:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    assert possible == ["    Points Possible", "", "", "", "", "10.00"] and ["ann", "", "", "ann", "", "9.00"] in rest
    with (small[1] / "moodle_99.csv").open(newline="") as file:
        assert {row["Full name"]: row["Grade"] for row in csv.DictReader(file)}["cy"] == "1.50"


def test_gradescopes_results_add_up(small):
    told = json.loads((small[1] / "gradescope" / "bob_b.json").read_text("utf-8"))
    assert [test["status"] for test in told["tests"]] == ["failed", "passed", "passed", "passed", "passed"]
    assert told["score"] == 8 and "brings the time of its sender" in told["tests"][0]["output"]


def test_a_learners_page_has_no_other_learners_data_and_no_markup_of_theirs(small):
    names = {path.stem: path.read_text("utf-8") for path in (small[1] / "learners").iterdir()}
    assert set(names) == {"ann", "bob_b", "cy"}
    assert "bob" not in names["ann"] and "ann" not in names["cy"] and "well done" in names["ann"]
    assert "<b>:" not in names["bob_b"] and "&lt;b&gt;" in names["bob_b"] and "ignores the message" in names["bob_b"]


def test_who_wrote_alike_is_on_the_class_page_and_on_no_learners_page(small):
    assert [group.learners for group in small[0].similar] == [("=bob, <b>", "ann")] * 4
    assert "Answers that are alike" in (small[1] / "index.html").read_text("utf-8")
    assert not any("alike" in path.read_text("utf-8") for path in (small[1] / "learners").iterdir())


def test_pages_need_no_network_and_no_script(small):
    for path in small[1].rglob("*.html"):
        text = path.read_text("utf-8")
        assert "http" not in text.replace("http-equiv", "") and "<script" not in text and "default-src 'none'" in text


def test_the_same_command_again_grades_nothing_twice(small):
    out = small[1]
    before = (out / "journal.jsonl").read_bytes()
    graded([out.parent / "in"], out)
    assert (out / "journal.jsonl").read_bytes() == before


def test_a_grader_that_is_killed_goes_on_to_equal_results(small, tmp_path):
    before = set(sandboxed())
    environment = reaper.env({**os.environ, "PYTHONPATH": os.pathsep.join([".", str(CORPUS)])})
    command = [sys.executable, "-c", PROGRAM, str(small[1].parent / "in"), str(tmp_path / "out"), str(CORPUS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as grader:
        while int(grader.stdout.readline()) < 4:
            pass
        grader.send_signal(signal.SIGKILL)
    done = (tmp_path / "out" / "journal.jsonl").read_text("utf-8").splitlines()
    assert 4 <= len(done) - 1 < 15
    deadline = time.monotonic() + 60
    while set(sandboxed()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(sandboxed()) - before == set()
    with (tmp_path / "out" / "journal.jsonl").open("a") as journal:
        journal.write('{"key": ["half a li')
    found = graded([small[1].parent / "in"], tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "journal.jsonl").read_text("utf-8").splitlines()]
    keys = [tuple(line["key"]) for line in lines if "key" in line]
    assert len(keys) == len(set(keys)) == 15
    assert [outcomes(one) for one in found.learners] == [outcomes(one) for one in small[0].learners]


def test_the_memory_of_all_processes_together_is_bounded(tmp_path):
    take = "import os, time\n        os.fork()\n        much = bytearray(b'x') * 120_000_000\n        time.sleep(600)"
    hand_in(tmp_path / "in", {"ann": RIGHT | {"99.1": RIGHT["99.1"].replace("self.time += 1", take, 1)}})
    found = graded([tmp_path / "in"], tmp_path / "out", limits=isolation.Limits(total_mb=150))
    first, *others = found.learners[0].papers[0].marked
    assert "ended by signal 9" in first.verdict.summary
    assert all(one.verdict for one in others)


def test_where_namespaces_are_refused_grading_goes_on_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "weaknesses", lambda: ["nothing is shut in"])
    before = set(sandboxed())
    many = "for _ in range(20): __import__('subprocess').Popen(['sleep', '600'])"
    hand_in(tmp_path / "in", {"ann": RIGHT | {"99.1": f"{RIGHT['99.1']}\n{many}", "99.2": RIGHT["99.5"]}})
    found = graded([tmp_path / "in"], tmp_path / "out")
    assert outcomes(found.learners[0]) == dict.fromkeys(RIGHT, "pass") | {"99.2": "fail"}
    assert set(sandboxed()) - before == set()
    assert "nothing is shut in" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_only_some_exercises(small, tmp_path):
    found = graded([small[1].parent / "in"], tmp_path / "out", only=("99.2",))
    assert [outcomes(learner) for learner in found.learners] == [
        {"99.2": "pass"},
        {"99.2": "pass"},
        {"99.2": "not started"},
    ]


def test_an_exercise_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(LearnerError, match=r"no exercise 10\.7"):
        graded([tmp_path], tmp_path / "out", only=("10.7",))


def test_nothing_handed_in_is_an_error(tmp_path):
    with pytest.raises(LearnerError, match="no notebook"):
        graded([tmp_path], tmp_path / "out")


def test_the_latest_of_several_attempts_counts(tmp_path):
    hand_in(tmp_path / "in", {"doeann_47_1_x": {}})
    newer = grading_course.notebook({"99.2": RIGHT["99.2"]})
    (tmp_path / "in" / "doeann_47_2_99_small-1.ipynb").write_text(json.dumps(newer))
    found = graded([tmp_path / "in"], tmp_path / "out", only=("99.2",))
    assert [(learner.name, learner.points) for learner in found.learners] == [("doeann", 2)]
    assert "more than once; doeann_47_2_99_small-1.ipynb is graded" in found.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "learner,points\nann,many\n",
        "learner,points\nann,nan\n",
        "learner,late\nann,perhaps\n",
        "name,points\nann,1\n",
        "\xff",
    ],
)
def test_a_table_of_changes_that_cannot_be_understood_is_an_error(tmp_path, text):
    (tmp_path / "c.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(LearnerError, match=r"c\.csv"):
        results.changes(tmp_path / "c.csv")
