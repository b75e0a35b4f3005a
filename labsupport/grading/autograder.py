"""Grade one submission where Gradescope has put it: ``run_autograder`` of the folder that `export` makes calls this.

    /autograder/submission/            what was handed in; of several notebooks of the lesson the best one counts
    /autograder/results/results.json   what comes out

It is written when everything is judged. Where the autograder itself fails there is none: Gradescope then says so and
shows the reason to the instructor, instead of giving a mark that nobody has earned.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from labsupport.errors import LabBug, LearnerError
from labsupport.exercises import catalogue
from labsupport.grading import grade, release, results
from labsupport.history import Outcome


def main(arguments: argparse.Namespace) -> int:
    """``autograde``: write the results; with ``--prove`` fail unless the lesson's solved notebook gets full marks."""
    lesson = catalogue.lesson(arguments.lesson)
    if arguments.prove:
        _prove(lesson)
        return 0
    folder = arguments.root / "results"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)  # submitted code runs as another user
    told = graded(arguments.root / "submission", lesson, arguments.seed)
    (folder / "results.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


def graded(place: Path, lesson: catalogue.Lesson, seed: int | None = None) -> dict[str, Any]:
    """What Gradescope shows of the notebooks in a folder."""
    options = grade.Options(jobs=1, seed=seed, modules=(f"{catalogue.__package__}.lesson_{lesson.number}",))
    with tempfile.TemporaryDirectory() as out:
        try:
            found = grade.grade([str(place)], Path(out), options, lambda done, of: print(f"{done} of {of} exercises"))
        except LearnerError as error:
            return {"score": 0, "tests": [], "output": f"{error.what}: hand in {lesson.notebook}.ipynb"}
    print(*found.weaknesses, f"seed {found.seed}", sep="\n")  # Gradescope shows this to instructors
    learners = sorted(found.learners, key=lambda learner: learner.points)
    told = results.gradescope_results(learners[-1]) if learners else {"score": 0, "tests": []}
    unknown = [mark.exercise.id for mark in found.marks if mark.verdict.outcome is Outcome.UNKNOWN]
    lines = [f"{id_} could not be judged: ask your instructor to run the autograder again." for id_ in unknown]
    return {**told, "output": "\n".join([*lines, *found.problems])}


def _prove(lesson: catalogue.Lesson) -> None:
    told = graded(release.SOLUTIONS / f"{lesson.notebook}.ipynb", lesson)
    if told["score"] != lesson.points:
        lines = [
            told["output"],
            *(f"{test['number']}: {test['output']}" for test in told["tests"] if test["status"] != "passed"),
        ]
        raise LabBug(
            "\n".join([f"the solved notebook of lesson {lesson.number} does not get full marks here", *lines]),
            do="run the set-up again; if it fails again, look at the systems that it names",
        )
