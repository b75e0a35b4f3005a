"""What came out of grading a class, and its forms: JSON, tables for the common systems, Gradescope's results."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labsupport.errors import LearnerError
from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.grading.similarity import Group
from labsupport.history import Outcome, Verdict

LATE = dict.fromkeys(("yes", "y", "true", "1", "late"), True) | dict.fromkeys(("no", "n", "false", "0"), False)


@dataclasses.dataclass(frozen=True)
class Marked:
    """One exercise of one learner."""

    exercise: Exercise
    verdict: Verdict
    problems: tuple[str, ...] = ()
    took_s: float = 0.0

    @property
    def points(self) -> int:
        return self.exercise.points if self.verdict else 0

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict
        told = {"verdict": verdict.outcome.value, "points": self.points, "misconception": verdict.misconception}
        return {"id": self.exercise.id, **told, "message": verdict.summary}


@dataclasses.dataclass(frozen=True)
class Change:
    """What a person has decided about one learner's lesson: points to add (or take off), and a comment."""

    points: float = 0.0
    late: bool | None = None
    comment: str = ""


@dataclasses.dataclass(frozen=True)
class Paper:
    """One lesson of one learner."""

    lesson: Lesson
    marked: tuple[Marked, ...]
    late: bool = False
    late_percent: float = 0.0
    change: Change = Change()

    @property
    def of(self) -> int:
        return sum(one.exercise.points for one in self.marked)

    @property
    def is_late(self) -> bool:
        return self.late if self.change.late is None else self.change.late

    @property
    def earned(self) -> int:
        """Before a person or a date has changed it."""
        return sum(one.points for one in self.marked)

    @property
    def points(self) -> float:
        kept = 1 - (self.late_percent / 100 if self.is_late else 0)
        exact = max(0.0, round(self.earned * kept + self.change.points, 2))
        return int(exact) if exact == int(exact) else exact

    def as_json(self) -> dict[str, Any]:
        exercises = [one.as_json() for one in self.marked]
        told = {"lesson": self.lesson.number, "points": self.points, "of": self.of, "exercises": exercises}
        return told | ({"late": True} if self.is_late else {}) | _given(self.change)


def _given(change: Change) -> dict[str, Any]:
    fields = {"adjustment": change.points, "comment": change.comment}
    return {name: value for name, value in fields.items() if value}


@dataclasses.dataclass(frozen=True)
class Learner:
    """One learner with all lessons that were graded."""

    name: str
    id: str
    papers: tuple[Paper, ...]

    @property
    def points(self) -> float:
        return round(sum(paper.points for paper in self.papers), 2)

    @property
    def of(self) -> int:
        return sum(paper.of for paper in self.papers)

    def paper(self, number: str) -> Paper | None:
        """The paper on one lesson, if there is one."""
        return next((paper for paper in self.papers if paper.lesson.number == number), None)

    def as_json(self) -> dict[str, Any]:
        return {"learner": self.name, "lessons": [paper.as_json() for paper in self.papers]}


@dataclasses.dataclass(frozen=True)
class Results:
    """A whole class.

    Args:
        learners: by name.
        lessons: those that somebody handed in.
        problems: what the instructor should know, one line each.
        seed: what the checks' cases were drawn from.
        weaknesses: what the machine could not enforce.
        similar: whose answers are alike; for the instructor's eyes only.
    """

    learners: tuple[Learner, ...]
    lessons: tuple[Lesson, ...]
    problems: tuple[str, ...]
    seed: int
    weaknesses: tuple[str, ...] = ()
    similar: tuple[Group, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "weaknesses": list(self.weaknesses),
            "learners": [learner.as_json() for learner in self.learners],
            "problems": list(self.problems),
        }

    @property
    def marks(self) -> list[Marked]:
        """All exercises of all learners."""
        return [one for learner in self.learners for paper in learner.papers for one in paper.marked]

    @property
    def exercises(self) -> list[Exercise]:
        """Those that were graded, in the course's order."""
        asked = {one.exercise.id for one in self.marks}
        return [exercise for lesson in self.lessons for exercise in lesson.exercises if exercise.id in asked]

    def write(self, folder: Path) -> None:
        """Write every form but the pages into a folder."""
        (folder / "grades.json").write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        _write(folder / "grades.csv", grades_table(self))
        _write(folder / "canvas.csv", canvas_table(self))
        for lesson in self.lessons:
            _write(folder / f"moodle_{lesson.number}.csv", moodle_table(self, lesson))
        gradescope = folder / "gradescope"
        gradescope.mkdir(exist_ok=True)
        for learner, name in zip(self.learners, file_names(self.learners), strict=True):
            text = json.dumps(gradescope_results(learner), indent=1, ensure_ascii=False)
            (gradescope / f"{name}.json").write_text(text + "\n", "utf-8")


def file_names(learners: Sequence[Learner]) -> list[str]:
    """A file name for each learner, readable and unique."""
    names: list[str] = []
    for learner in learners:
        plain = re.sub(r"[^\w-]+", "_", f"{learner.name}_{learner.id}".strip("_"))[:80].strip("_") or "learner"
        again = sum(name == plain or name.startswith(f"{plain}~") for name in names)
        names.append(f"{plain}~{again + 1}" if again else plain)
    return names


# ------------------------------------------------------------------------------------------------ tables


def grades_table(results: Results) -> list[list[Any]]:
    """One row for each learner: every exercise, every lesson, the sum."""
    lessons = [f"lesson {lesson.number}" for lesson in results.lessons]
    exercises = results.exercises
    rows: list[list[Any]] = [
        ["learner", "id", *(one.id for one in exercises), *lessons, "points", "of", "late", "adjustment", "comment"]
    ]
    for learner in results.learners:
        points = {one.exercise.id: one.points for paper in learner.papers for one in paper.marked}
        papers = [learner.paper(lesson.number) for lesson in results.lessons]
        late = " ".join(paper.lesson.number for paper in learner.papers if paper.is_late)
        rows.append(
            [
                learner.name,
                learner.id,
                *(points.get(one.id, "") for one in exercises),
                *("" if paper is None else paper.points for paper in papers),
                learner.points,
                learner.of,
                late,
                round(sum(paper.change.points for paper in learner.papers), 2) or "",
                _comments(learner.papers),
            ]
        )
    return rows


def canvas_table(results: Results) -> list[list[Any]]:
    """Canvas's gradebook: https://community.canvaslms.com, "How do I import grades in the Gradebook"."""
    titles = [f"{lesson.number} {lesson.title}" for lesson in results.lessons]
    of = [
        _number(max((p.of for one in results.learners if (p := one.paper(x.number))), default=0))
        for x in results.lessons
    ]
    rows: list[list[Any]] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles],
        ["    Points Possible", "", "", "", "", *of],
    ]
    for learner in results.learners:
        papers = [learner.paper(lesson.number) for lesson in results.lessons]
        points = ["" if paper is None else _number(paper.points) for paper in papers]
        rows.append([learner.name, learner.id, "", "" if learner.id else learner.name, "", *points])
    return rows


def moodle_table(results: Results, lesson: Lesson) -> list[list[Any]]:
    """Moodle's offline grading worksheet of one assignment: https://docs.moodle.org, "Assignment activity"."""
    rows: list[list[Any]] = [
        ["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]
    ]
    for learner in results.learners:
        if paper := learner.paper(lesson.number):
            lines = [f"{one.exercise.id} {one.verdict.outcome.value}: {one.verdict.summary}" for one in paper.marked]
            identifier = f"Participant {learner.id}" if learner.id else ""
            feedback = "\n".join([*lines, *filter(None, [paper.change.comment])])
            rows.append([identifier, learner.name, _number(paper.points), _number(paper.of), "-", feedback])
    return rows


def gradescope_results(learner: Learner) -> dict[str, Any]:
    """Gradescope's results.json: https://gradescope-autograders.readthedocs.io/en/latest/specs/."""
    tests = []
    for paper in learner.papers:
        for one in paper.marked:
            verdict = one.verdict
            known = one.exercise.misconceptions.get(verdict.misconception, "")
            output = [verdict.summary, *filter(None, [known]), *verdict.evidence]
            tests.append(
                {
                    "number": one.exercise.id,
                    "name": one.exercise.title,
                    "score": one.points,
                    "max_score": one.exercise.points,
                    "status": "passed" if verdict else "failed",
                    "output": "\n".join(output),
                    "output_format": "text",
                    "visibility": "visible",
                }
            )
    return {"score": learner.points, "output": _comments(learner.papers), "visibility": "visible", "tests": tests}


def _comments(papers: Iterable[Paper]) -> str:
    return "; ".join(filter(None, dict.fromkeys(paper.change.comment for paper in papers)))


def _number(value: float) -> str:
    return f"{value:.2f}"


def _write(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([[_harmless(cell) for cell in row] for row in rows])
    path.write_text(text.getvalue(), "utf-8")


def _harmless(cell: Any) -> Any:
    """A name that begins like a formula must not become one when a person opens the table."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "@", "\t", "\r") else cell


# ------------------------------------------------------------------------------------------------ changes by hand


def changes(path: Path) -> dict[tuple[str, str], Change]:
    """Read a table of changes: the columns learner, lesson (empty: every lesson), points, late, comment.

    Returns:
        A change for each pair of a learner's name or id and a lesson's number or "".

    Raises:
        LearnerError: the file cannot be read, or a column is missing or not understood.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LearnerError(f"{path} cannot be read: {error}", do="save it as CSV in UTF-8") from None
    found = {}
    for number, row in enumerate(rows, 2):
        if not row.get("learner"):
            raise LearnerError(
                f"{path}, line {number} names no learner", do="begin with the line learner,lesson,points,late,comment"
            )
        points, late = row.get("points") or "0", (row.get("late") or "").strip().lower()
        if not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", points):
            raise LearnerError(f"{path}, line {number}: {points!r} is no number", do="write for example -1 or 0.5")
        if late and late not in LATE:
            raise LearnerError(f"{path}, line {number}: late is {late!r}", do="write yes or no, or nothing")
        lesson = (row.get("lesson") or "").strip()
        lesson = lesson and lesson.zfill(2)  # a table program has made 1 of 01
        found[row["learner"].strip(), lesson] = Change(
            float(points), LATE.get(late), (row.get("comment") or "").strip()
        )
    return found


def change_for(found: Mapping[tuple[str, str], Change], learner: str, id_: str, lesson: str) -> Change:
    """The change for one learner's lesson; a line for this lesson wins over one for all."""
    keys = [(who, what) for what in (lesson, "") for who in (learner, id_) if who]
    return next((found[key] for key in keys if key in found), Change())


def unused(found: Mapping[tuple[str, str], Change], learners: Iterable[Learner]) -> list[str]:
    """A line for each change that changes nothing."""
    papers = {
        (who, what)
        for one in learners
        for who in (one.name, one.id)
        for what in ("", *(paper.lesson.number for paper in one.papers))
    }
    return [
        f"{who}: is named in the table of changes{f' for lesson {what}' if what else ''}, and has handed in nothing"
        for who, what in found
        if (who, what) not in papers
    ]


def verdict_of(told: Mapping[str, Any]) -> Verdict:
    """The verdict that `Verdict.as_json` gave, but for half characters: texts of learners have them, files cannot."""
    told = json.loads(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))
    return Verdict(**{**told, "outcome": Outcome(told["outcome"]), "evidence": tuple(told["evidence"])})
