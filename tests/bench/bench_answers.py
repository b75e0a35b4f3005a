"""How often a right answer passes, over many seeds; anything but always is a defect of the check.

The right answers are those in tests/right_answers/ and the solved cells of solutions/.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

from labsupport.exercises import catalogue
from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import run_check

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNS, QUICK_RUNS = 100, 3


def right_answers() -> Iterator[tuple[catalogue.Exercise, str, Answer]]:
    """Every right answer: its exercise, a name for it, and the answer."""
    for lesson in catalogue.lessons():
        cells = json.loads((ROOT / "solutions" / f"{lesson.notebook}.ipynb").read_text("utf-8"))["cells"]
        sources = {cell["id"]: "".join(cell["source"]) for cell in cells}
        for exercise in lesson.exercises:
            cell_id = f"x-{exercise.id.replace('.', '-')}"
            yield exercise, "solution", Answer(exercise.takes, "source", sources[cell_id].encode(), f"{cell_id}.py")
            for path in sorted((ROOT / "tests" / "right_answers" / exercise.id).glob("*.py")):
                yield exercise, path.stem, Answer.from_file(exercise.takes, path)


def rows(quick: bool = False) -> Iterator[dict]:
    """For each right answer, how many of the runs passed; each run draws its cases from another seed."""
    runs = QUICK_RUNS if quick else RUNS
    for exercise, name, answer in right_answers():
        passed = 0
        for seed in range(1, runs + 1):
            fresh = Answer(answer.takes, answer.kind, answer.data, answer.name)
            passed += bool(run_check(exercise, fresh, seed=seed))
        yield {
            "bench": "answers",
            "case": f"{exercise.id} {name}",
            "value": passed,
            "unit": "passed",
            "baseline": "runs",
            "baseline_value": runs,
            "ratio": passed / runs,
            "goal": "ratio = 1",
            "holds": passed == runs,
        }
