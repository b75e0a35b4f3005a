"""Submissions a minute: one class of the same notebooks graded by us, by nbgrader and by Otter, with the same marks.

The assignment is the small course of `tests/grading/corpus`: five pure-Python exercises. All three put as many cases to
the same answers, of which the mark is known beforehand; the graders take turns, and their rates are medians. nbgrader
and Otter are installed once, into a directory of their own. Ours runs with its sandbox and with a process for each
core, and more while the cores are idle; nbgrader's `autograde` in one, as it does; `otter run` takes one notebook at a
time.
Then notebooks of lessons whose exercises are checked on real servers, ours alone: no other grader can grade them.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsupport.errors import LabBug, SetupError
from labsupport.exercises import catalogue
from labsupport.grading import grade, release
from labsupport.services import sources

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "grading" / "corpus"
sys.path.insert(0, str(CORPUS))

import grading_course  # noqa: E402
from grading_course import RIGHT  # noqa: E402

PEERS = ("nbgrader==0.9.6", "otter-grader==7.0.0")
LEARNERS, QUICK_LEARNERS = 100, 20
OTTERS, QUICK_OTTERS = 20, 4  # it takes seconds for each
ROUNDS, QUICK_ROUNDS = 3, 1
BROKER_LEARNERS, QUICK_BROKER_LEARNERS = 40, 8
NAME = "small"

WRONG = {
    "99.1": RIGHT["99.1"].replace("max(self.time, time)", "self.time"),
    "99.2": RIGHT["99.2"].replace('"concurrent" if less and more else ', ""),
    "99.3": RIGHT["99.3"].replace('"big")', '"little")'),
    "99.4": RIGHT["99.4"].replace("max(replies)", "min(replies)"),
    "99.5": RIGHT["99.5"].replace("% len(ring)", "- 1"),
}
RAISING = {
    "99.1": RIGHT["99.1"].replace("self.time += 1", "self.tme += 1"),
    "99.2": "def compare(one, other:\n    return 1",
    "99.3": RIGHT["99.3"].replace("json.dumps(value)", "json.dumps(value)[None]"),
    "99.4": RIGHT["99.4"].replace("return max(replies)[1]", "raise KeyError(need)"),
    "99.5": RIGHT["99.5"].replace("sorted(", "sorted(None, "),
}
# What the checks of `grading_course` ask, as code for graders that run tests beside the answer.
TESTS = {
    "99.1": """clock, time = Clock(), 0
for other in [None, 7, None, None, 3, 40, None, 41, 20, None] * 4:
    time = max(time, other or 0) + 1
    assert (clock.tick() if other is None else clock.receive(other)) == time""",
    "99.2": """for a, b, order in [({"a": 1}, {"a": 2}, "before"), ({"a": 2}, {"a": 1}, "after"), ({}, {}, "same"),
                          ({"a": 1}, {"b": 1}, "concurrent"), ({"a": 1, "b": 2}, {"b": 1, "a": 1}, "after")] * 8:
    assert compare(a, b) == order""",
    "99.3": """values = [{"n": 7, "text": "x"}, [1, None, True], "y" * 200]
stream = b"".join(len(data).to_bytes(4, "big") + data for data in (json.dumps(value).encode() for value in values))
assert b"".join(pack(value) for value in values) == stream and unpack(stream) == values""",
    "99.4": """import asyncio, threading
async def replica_of(answer):
    if answer is None:
        await asyncio.Event().wait()
    if answer == "down":
        raise ConnectionError("down")
    return answer
def read(replicas, got):
    reading = quorum_read([lambda answer=answer: replica_of(answer) for answer in replicas], 3)
    got.append(asyncio.run(asyncio.wait_for(reading, 6)))
for versions in [(3, 1, 2), (9, 8, 7), (4, 6, 5), (1, 2, 3), (2, 9, 1)]:
    got = []
    replicas = [*([version, f"value {version}"] for version in versions), None, "down"]
    thread = threading.Thread(target=read, args=(replicas, got))
    thread.start()
    thread.join()
    assert got == [f"value {max(versions)}"]""",
    "99.5": """import bisect, hashlib
def place_of(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
nodes = [f"node{n}" for n in range(5)]
ring = sorted((place_of(node), node) for node in nodes)
for key in [f"key{n}" for n in range(300, 420, 4)]:
    assert owner(key, nodes) == ring[bisect.bisect(ring, (place_of(key), "")) % len(ring)][1]""",
}


def rows(quick: bool = False) -> list[dict]:
    """The rates, and what they are compared with."""
    learners = _class(QUICK_LEARNERS if quick else LEARNERS)
    rates: dict[str, list[float]] = {"ours": [], "nbgrader": [], "otter": []}
    with tempfile.TemporaryDirectory(prefix="bench-grading-") as name:
        folder = Path(name)
        peers = Peers(folder, learners)
        few = dict(list(learners.items())[: QUICK_OTTERS if quick else OTTERS])
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            rates["ours"].append(_rate(learners, lambda: _ours(folder, learners)))
            rates["nbgrader"].append(_rate(learners, peers.nbgrader))
            rates["otter"].append(_rate(few, lambda: peers.otter(few)))
        size = QUICK_BROKER_LEARNERS if quick else BROKER_LEARNERS
        brokers = {number: _brokers(folder / number, number, size) for number in ("02", "04", "12")}
    ours = statistics.median(rates["ours"])
    case = f"{len(learners)} notebooks of 5 exercises, sandbox on, the right marks"
    return [
        _row(case, ours, "nbgrader autograde", statistics.median(rates["nbgrader"]), 12),
        _row(case, ours, f"otter run ({len(few)} of them)", statistics.median(rates["otter"]), 25),
        *(
            {
                "case": f"notebooks of lesson {number}, real servers, right and wrong answers",
                "value": rate,
                "unit": "/min",
                "goal": "at least 20 on 2 cores",
                "holds": rate >= 20,
            }
            for number, rate in brokers.items()
        ),
    ]


def _row(case: str, value: float, peer: str, rate: float, times: int) -> dict[str, Any]:
    goal = {"goal": f"at least {times} times as many", "holds": value >= times * rate}
    return {"case": case, "value": value, "unit": "/min", "baseline": peer, "baseline_value": rate, **goal}


def _class(size: int) -> dict[str, dict[str, str]]:
    """Answers by learner: of ten, four right, two wrong in one or two, two raising, one half done, one blank."""
    draw, ids = random.Random(7), list(RIGHT)
    learners: dict[str, dict[str, str]] = {}
    for number in range(size):
        kind = number % 10
        some = draw.sample(ids, draw.choice([1, 2]))
        spoiled = WRONG if kind in (4, 5) else RAISING
        answers = {**RIGHT, **{id_: spoiled[id_] for id_ in some if kind in (4, 5, 6, 7)}}
        if kind in (8, 9):
            answers = {id_: answers[id_] for id_ in ids[: 3 * (kind == 8)]}
        learners[f"learner{number:03}"] = answers
    return learners


def _marks(learners: dict[str, dict[str, str]]) -> dict[str, float]:
    return {name: 2.0 * sum(answers.get(id_) == RIGHT[id_] for id_ in RIGHT) for name, answers in learners.items()}


def _rate(learners: dict[str, Any], grade_them: Callable[[], dict[str, float]]) -> float:
    started = time.monotonic()
    marks = grade_them()
    took_s = time.monotonic() - started
    wanted = _marks(learners)
    if marks != wanted:
        wrong = {name: (marks.get(name), wanted[name]) for name in wanted if marks.get(name) != wanted[name]}
        raise LabBug(f"a grader gave other marks than the answers deserve (given, deserved): {wrong}")
    return 60 * len(learners) / took_s


def _ours(folder: Path, learners: dict[str, dict[str, str]]) -> dict[str, float]:
    handed_in, out = folder / "ours", folder / "ours-out"
    shutil.rmtree(out, ignore_errors=True)
    handed_in.mkdir(exist_ok=True)
    for name, answers in learners.items():
        (handed_in / f"{name}.ipynb").write_text(json.dumps(_named(grading_course.notebook(answers), name)), "utf-8")
    options = grade.Options(modules=("grading_course",), path=(str(CORPUS),), seed=7)
    found = grade.grade([str(handed_in)], out, options, lambda done, of: None)
    if found.weaknesses:
        raise SetupError(f"The sandbox does not hold here: {found.weaknesses[0]}", do="run it on Linux, as root or not")
    return {learner.name: float(learner.points) for learner in found.learners}


def _named(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    notebook["metadata"]["learner"] = name  # no two files are the same, so that each is graded
    return notebook


def _brokers(folder: Path, number: str, size: int) -> float:
    """Notebooks of a lesson with right and wrong answers, a minute."""
    lesson = catalogue.lesson(number)
    handed_in = folder / "in"
    answers = {
        exercise.id: sorted((ROOT / "tests" / "right_answers" / exercise.id).glob("*.py"))
        + sorted((ROOT / "tests" / "wrong_answers" / exercise.id).glob("*.py"))[:2]
        for exercise in lesson.exercises
    }
    for place in range(size):
        notebook = json.loads((release.LESSONS / f"{lesson.notebook}.ipynb").read_text("utf-8"))
        for cell in notebook["cells"]:
            for id_, files in answers.items():
                if cell["id"] == f"x-{id_.replace('.', '-')}":
                    cell["source"] = files[place % len(files)].read_text("utf-8")
        (handed_in / f"learner{place}").mkdir(parents=True)
        file = handed_in / f"learner{place}" / f"{lesson.notebook}.ipynb"
        file.write_text(json.dumps(_named(notebook, str(place))), "utf-8")
    started = time.monotonic()
    grade.grade([str(handed_in)], folder / "out", grade.Options(seed=7), lambda done, of: None)
    return 60 * size / (time.monotonic() - started)


class Peers:
    """nbgrader and Otter, ready to grade the class.

    Args:
        folder: where they work.
        learners: the class.
    """

    def __init__(self, folder: Path, learners: dict[str, dict[str, str]]) -> None:
        self._programs = _installed()
        self._folder, self._learners = folder, learners
        self._course = folder / "nbgrader"
        (self._course / "source" / NAME).mkdir(parents=True)
        self._course.joinpath("nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'c'\n")
        source = self._course / "source" / NAME / "99.ipynb"
        source.write_text(json.dumps(_with_tests(RIGHT)), "utf-8")
        self._run(self._course, "nbgrader", "generate_assignment", NAME, "--create")
        for name, answers in learners.items():
            submitted = self._course / "submitted" / name / NAME
            submitted.mkdir(parents=True)
            (submitted / "99.ipynb").write_text(json.dumps(_with_tests(answers)), "utf-8")
        self._otter = folder / "otter"
        self._otter.mkdir()
        (self._otter / "master.ipynb").write_text(json.dumps(_master()), "utf-8")
        self._run(self._otter, "otter", "assign", "master.ipynb", "dist", "--no-run-tests", "--no-pdfs")
        self._zip = next((self._otter / "dist" / "autograder").glob("*.zip"))

    def nbgrader(self) -> dict[str, float]:
        """`nbgrader autograde` on the whole class."""
        shutil.rmtree(self._course / "autograded", ignore_errors=True)
        self._run(self._course, "nbgrader", "autograde", NAME, "--create", "--force")
        self._run(self._course, "nbgrader", "export", "--to", "grades.csv")
        with (self._course / "grades.csv").open(newline="") as file:
            return {row["student_id"]: float(row["raw_score"]) for row in csv.DictReader(file)}

    def otter(self, learners: dict[str, dict[str, str]]) -> dict[str, float]:
        """`otter run` on some notebooks, one after another."""
        marks = {}
        for name, answers in learners.items():
            folder = self._otter / name
            folder.mkdir(exist_ok=True)
            (folder / "master.ipynb").write_text(json.dumps(_without_tests(answers)), "utf-8")
            self._run(folder, "otter", "run", "-a", str(self._zip), "-o", str(folder), "master.ipynb")
            told = json.loads((folder / "results.json").read_text("utf-8"))
            marks[name] = float(sum(test.get("score", 0) for test in told["tests"]))
        return marks

    def _run(self, folder: Path, *words: str) -> None:
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        command = [str(self._programs / words[0]), *words[1:]]
        environment = {**os.environ, "PATH": path, "JUPYTER_PLATFORM_DIRS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(f"{' '.join(words[:2])} failed:\n{done.stderr[-2000:]}", do=f"look at {self._programs}")


def _installed() -> Path:
    """The directory of the peers' programs, installed at the first call."""
    home = sources.cache_directory() / f"bench-{'-'.join(PEERS)}-{sys.version_info[0]}.{sys.version_info[1]}"
    ready = home / "ready"
    if not ready.exists():
        print(f"installing {' and '.join(PEERS)} into {home} ...", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *PEERS]
        if subprocess.call(command, stdout=sys.stderr):
            raise SetupError("The graders to compare with cannot be installed.", do="connect to the network, try again")
        ready.touch()
    return home / "bin"


def _code(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": [], "source": source}


def _whole(cells: list[dict[str, Any]]) -> dict[str, Any]:
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _with_tests(answers: dict[str, str]) -> dict[str, Any]:
    """A notebook for nbgrader: an answer and a test cell for each exercise."""
    cells = [_code(grading_course.HELPERS)]
    for id_ in RIGHT:
        name = id_.replace(".", "-")
        graded = {"schema_version": 3, "task": False}
        answer = {**graded, "grade_id": f"x-{name}", "grade": False, "solution": True, "locked": False}
        test = {**graded, "grade_id": f"t-{name}", "grade": True, "solution": False, "locked": True, "points": 2}
        cells.append(_code(answers.get(id_, grading_course.STUBS[id_]), nbgrader=answer))
        cells.append(_code(TESTS[id_], nbgrader=test))
    return _whole(cells)


def _without_tests(answers: dict[str, str]) -> dict[str, Any]:
    sources_of = [answers.get(id_, grading_course.STUBS[id_]) for id_ in RIGHT]
    return _whole([_code(source) for source in (grading_course.HELPERS, *sources_of)])


def _master() -> dict[str, Any]:
    """The assignment in Otter's form."""

    def raw(text: str) -> dict[str, Any]:
        return {"cell_type": "raw", "metadata": {}, "source": text}

    cells = [
        raw("# ASSIGNMENT CONFIG\nexport_cell: false\ninit_cell: false"),
        _code(grading_course.HELPERS),
    ]
    for id_ in RIGHT:
        cells.append(raw(f"# BEGIN QUESTION\nname: q{id_.replace('.', '_')}\npoints: 2"))
        cells += [raw("# BEGIN SOLUTION"), _code(RIGHT[id_]), raw("# END SOLUTION")]
        cells += [raw("# BEGIN TESTS"), _code(TESTS[id_]), raw("# END TESTS"), raw("# END QUESTION")]
    return _whole(cells)
