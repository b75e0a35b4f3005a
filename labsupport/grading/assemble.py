"""Put a learner's exercise cells into the pristine lesson: what has to run for each exercise, and what is odd.

An exercise cell is found by nbgrader's `grade_id`, which stays with a cell that is moved, retitled or copied, or by its
nbformat id. It runs whole, as the learner left it. Before it run the statements that bind what it uses (see `slicing`):
looked for first in the learner's other cells, because that is what the check in the notebook saw, then in the pristine
lesson, so that an import cell deleted by mistake costs nothing. Check cells of a submission never run: the lesson's own
check decides.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from labsupport.errors import LabBug
from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.grading import release, slicing
from labsupport.grading.notebooks import Cell, read


@dataclasses.dataclass(frozen=True)
class Part:
    """Code that has to run, under the name that tracebacks show for it."""

    name: str
    source: str


@dataclasses.dataclass(frozen=True)
class Assembled:
    """What has to run for one exercise: nothing when it was not handed in or not begun.

    Args:
        exercise: its id.
        parts: the code, in order; the learner's exercise cell is last.
        missing: why there is nothing to grade, or "".
        problems: what the instructor should know, one line each.
    """

    exercise: str
    parts: tuple[Part, ...] = ()
    missing: str = ""
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pristine:
    """A lesson as learners get it: its code cells, and for each exercise its cell and its check cell."""

    lesson: Lesson
    cells: tuple[Cell, ...]
    answers: Mapping[str, Cell]
    checks: Mapping[str, Cell]

    @classmethod
    def of(cls, lesson: Lesson, folder: pathlib.Path = release.LESSONS) -> Pristine:
        """Read ``lessons/NN_name.ipynb``."""
        cells, _ = read((folder / f"{lesson.notebook}.ipynb").read_bytes())
        answers, checks = {}, {}
        latest = None
        for cell in cells:
            latest = cell if "exercise" in cell.tags else latest
            if "check" in cell.tags:
                exercise = next((one for one in lesson.exercises if one.call == cell.source.strip()), None)
                if exercise is None or latest is None:
                    raise LabBug(
                        f"the check cell {cell.id} of lesson {lesson.number} belongs to no exercise",
                        do="make lessons/ again: python3 -m labsupport release",
                    )
                answers[exercise.id], checks[exercise.id], latest = latest, cell, None
        return cls(lesson, tuple(cells), answers, checks)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The ids of all its code cells."""
        return frozenset(cell.id for cell in self.cells)

    def likeness(self, cells: Sequence[Cell], name: str = "") -> int:
        """How many of these cells are this lesson's, by their ids; exercises count most, a file's name least."""
        marked = {cell.id for cell in (*self.answers.values(), *self.checks.values())}
        present = {name for cell in cells for name in (cell.grade_id, cell.id) if name}
        named = self.lesson.notebook in name
        return 2 * len(present & self.names) + 200 * len(present & marked) + named

    def written(self, cells: Sequence[Cell]) -> dict[str, str]:
        """The answers in a submission's code cells, by exercise: exercise cells that were changed, the last of each."""
        return {
            exercise: cell.source
            for exercise, stub in self.answers.items()
            for cell in cells
            if cell.is_called(stub.id) and not _alike(cell, stub)
        }

    def assemble(self, cells: Sequence[Cell]) -> list[Assembled]:
        """What has to run for each exercise of the lesson, from a submission's code cells."""
        return [self._one(exercise, cells) for exercise in self.lesson.exercises]

    def _one(self, exercise: Exercise, cells: Sequence[Cell]) -> Assembled:
        stub = self.answers[exercise.id]
        problems = list(self._oddities(exercise.id, cells))
        found = [place for place, cell in enumerate(cells) if cell.is_called(stub.id)]
        written = [place for place in found if not _alike(cells[place], stub)]
        others = self._others(cells, exercise.id)
        if written:
            place = written[-1]
            if len(found) > 1:
                problems.append(
                    f"exercise cell {stub.id} is there {len(found)} times; the last one that was changed is graded"
                )
            parts = [Part(stub.id, cells[place].source)]
        elif self._elsewhere(exercise, others):
            place = len(cells)
            parts = []
            problems.append(f"exercise cell {stub.id} is {'untouched' if found else 'missing'}; other cells define it")
        elif found:
            return Assembled(exercise.id, missing="the exercise cell is as it was given out", problems=tuple(problems))
        else:
            problems.append(f"exercise cell {stub.id} is missing")
            return Assembled(exercise.id, missing="the exercise cell is missing", problems=tuple(problems))
        wanted = slicing.used(parts[0].source) if parts else frozenset(exercise.takes)
        return Assembled(exercise.id, (*self._before(wanted, others, place), *parts), problems=tuple(problems))

    def _oddities(self, exercise_id: str, cells: Sequence[Cell]) -> Iterator[str]:
        """What is odd about the check cell; none of it changes a mark."""
        check = self.checks[exercise_id]
        found = [cell for cell in cells if cell.is_called(check.id)]
        if not found:
            yield f"check cell {check.id} is missing; the lesson's own check decides"
        if len(found) > 1:
            yield f"check cell {check.id} is there {len(found)} times; the lesson's own check decides, once"
        if any(not _alike(cell, check) for cell in found):
            yield f"check cell {check.id} was changed; the lesson's own check decides"

    def _others(self, cells: Sequence[Cell], exercise_id: str) -> list[tuple[int, Cell]]:
        """The cells that may be needed: not this exercise's own, no checks, no exercise that was not begun."""
        checks = {cell.id for cell in self.checks.values()}
        stubs = {cell.id: cell for cell in self.answers.values()}
        own = self.answers[exercise_id].id
        kept = []
        for place, cell in enumerate(cells):
            name = cell.grade_id or cell.id
            if name not in checks and name != own and not (name in stubs and _alike(cell, stubs[name])):
                kept.append((place, cell))
        return kept

    def _elsewhere(self, exercise: Exercise, others: Sequence[tuple[int, Cell]]) -> bool:
        """Whether cells that are not the exercise's define what it takes, and not because the lesson does."""
        given = frozenset().union(*(slicing.bound(cell.source) for cell in self.cells if "exercise" not in cell.tags))
        theirs = frozenset().union(*(slicing.bound(cell.source) for _, cell in others))
        return bool(exercise.takes) and set(exercise.takes) <= theirs - given

    def _before(self, wanted: frozenset[str], others: Sequence[tuple[int, Cell]], place: int) -> list[Part]:
        """The code that binds the wanted names: cells before the exercise win over cells after it, both over ours."""
        ours = [(cell.id, cell.source) for cell in self.cells if not {"exercise", "check"} & cell.tags]
        after = [(_name(cell, at), cell.source) for at, cell in others if at > place]
        before = [(_name(cell, at), cell.source) for at, cell in others if at < place]
        sources = [*ours, *after, *before]
        picked = slicing.slice_for(wanted, [source for _, source in sources])
        return [Part(sources[at][0], text) for at, text in picked]


def _alike(cell: Cell, pristine: Cell) -> bool:
    """Whether a cell holds what was given out; comments and the form do not count."""
    return cell.source == pristine.source or slicing.form(cell.source) == slicing.form(pristine.source)


def _name(cell: Cell, place: int) -> str:
    name = cell.grade_id or cell.id
    return name if name.isascii() and name.replace("-", "").isalnum() and len(name) <= 64 else f"code cell {place + 1}"
