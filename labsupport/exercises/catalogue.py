"""What can be asked of a learner, as data: lessons, their exercises, hints and misconceptions."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labsupport.errors import LearnerError


@dataclasses.dataclass(frozen=True)
class Exercise:
    """One graded exercise.

    Args:
        id: lesson and number, such as "12.1".
        title: a few words, as the lesson's heading has them.
        points: what it is worth.
        takes: the names that the learner defines and hands to `check`, in order.
        check: ``check(answer, run)``; returns when the answer is right, calls ``run.reject`` when it is not.
        misconceptions: for each known mistake, its name and the sentence that says what is wrong in that thought.
        hints: three rungs: where to look, what to ask yourself, the shape of the answer in words.
        cases: the situations of `labsupport.exercises.worlds` that the check goes through, for `replay`.
    """

    id: str
    title: str
    points: int
    takes: tuple[str, ...]
    check: Callable[..., Any]
    misconceptions: Mapping[str, str]
    hints: tuple[str, str, str]
    cases: tuple[Any, ...] = ()

    @property
    def call(self) -> str:
        """The line that checks it in a notebook."""
        return f"check({', '.join([repr(self.id).replace(chr(39), chr(34)), *self.takes])})"


@dataclasses.dataclass(frozen=True)
class Lesson:
    """One notebook: its number, title, file name without ending, the systems it starts, and its exercises.

    `modules` gives the directories of Python modules that its cells generate, for answers that import them where those
    cells did not run.
    """

    number: str
    title: str
    notebook: str
    minutes: int
    systems: tuple[str, ...]
    exercises: tuple[Exercise, ...]
    modules: Callable[[], Sequence[str]] = tuple

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)


def lesson_numbers() -> list[str]:
    """The numbers of all lessons, without importing them (and the client libraries that they need)."""
    modules = pkgutil.iter_modules(importlib.import_module(__package__).__path__)
    return sorted(module.name.removeprefix("lesson_") for module in modules if module.name.startswith("lesson_"))


def lesson(number: str) -> Lesson:
    """The lesson with this number: the module ``lesson_NN`` of this package holds it."""
    return importlib.import_module(f"{__package__}.lesson_{number}").LESSON


@functools.cache
def lessons() -> tuple[Lesson, ...]:
    """All lessons, in the order of the course."""
    return tuple(map(lesson, lesson_numbers()))


def find(exercise_id: str) -> Exercise:
    """The exercise with this id.

    Raises:
        LearnerError: there is none; it names the nearest one.
    """
    number = str(exercise_id).partition(".")[0]
    if number in lesson_numbers():
        for exercise in lesson(number).exercises:
            if exercise.id == exercise_id:
                return exercise
    known = [exercise.id for each in lessons() for exercise in each.exercises]
    near = difflib.get_close_matches(str(exercise_id), known, n=1, cutoff=0.0)
    raise LearnerError(
        f"there is no exercise {exercise_id!r}",
        cause="an id is the lesson's number, a dot and the exercise's number, as text",
        do=f'write for example check("{near[0]}", …); the exercises are {", ".join(known)}',
    )
