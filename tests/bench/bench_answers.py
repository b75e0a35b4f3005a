"""How often a right answer passes, over many seeds; anything but always is a defect of the check.

The right answers are those in tests/right_answers/ and the solved cells of solutions/.
"""

from __future__ import annotations

import itertools
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
            text = _messages(sources, cell_id) + sources[cell_id]
            yield exercise, "solution", Answer(exercise.takes, "source", text.encode(), f"{cell_id}.py")
            for path in sorted((ROOT / "tests" / "right_answers" / exercise.id).glob("*.py")):
                yield exercise, path.stem, Answer.from_file(exercise.takes, path)


def _messages(sources: dict[str, str], cell_id: str) -> str:
    """What the solution of a node exercise needs of the cells before it: the message classes of the lesson."""
    if "(Node)" not in sources[cell_id]:
        return ""
    before = itertools.takewhile(lambda name: name != cell_id, sources)
    given = [sources[name] for name in before if sources[name].startswith("@message")]
    return "\n".join(["from labsupport import Error, Node, RequestFailed, message", *given, ""])


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
