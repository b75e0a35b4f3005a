"""What a lesson's cells call: `check`, `replay`, `hint`, `predict`, `progress` and `what_you_saw`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from labsupport.errors import LearnerError
from labsupport.exercises import catalogue, record
from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import run_check
from labsupport.exercises.standing import standing
from labsupport.history import Outcome
from labsupport.view.cards import HintCard, Table, VerdictCard
from labsupport.view.choices import Choices
from labsupport.view.course_map import CourseMap

NBGRADER = "NBGRADER_EXECUTION"
SEED = 1  # a check in a notebook draws the same cases every time, so that a learner sees the effect of the code alone

_predictions: dict[str, Prediction] = {}


def check(exercise_id: str, *objects: Any, seed: int = SEED) -> VerdictCard:
    """Check your answer to an exercise; the result is shown, is true when it passed, and raises for no wrong answer.

    Under nbgrader it does: there, a check cell that raises nothing has earned its points
    (https://nbgrader.readthedocs.io/en/stable/user_guide/faq.html names the variable).

    Args:
        exercise_id: such as "12.1".
        objects: what the exercise asks for, in its order.
        seed: the cases are drawn from it; a failing check prints the line that replays it.

    Raises:
        LearnerError: there is no such exercise, or the objects are not the ones that it takes; under nbgrader also that
            the answer did not pass.
    """
    exercise = catalogue.find(exercise_id)
    if len(objects) != len(exercise.takes):
        raise LearnerError(
            f"exercise {exercise.id} takes {len(exercise.takes)} object(s), not {len(objects)}",
            do=f"write {exercise.call}",
        )
    for name, value in zip(exercise.takes, objects, strict=True):
        if not callable(value):
            raise LearnerError(
                f"{name} is {_described(value)}, and exercise {exercise.id} wants the function or class itself",
                cause="it was called, or its name was used for something else",
                do=f"write {exercise.call}",
            )
    verdict = run_check(exercise, Answer.of(exercise.takes, objects), seed=seed)
    record.add("check", exercise=exercise.id, outcome=verdict.outcome.value, misconception=verdict.misconception)
    card = VerdictCard(
        verdict,
        title=exercise.title,
        misconception=exercise.misconceptions.get(verdict.misconception, ""),
        next_hint=f'hint("{exercise.id}")' if verdict.outcome is Outcome.FAIL else "",
    )
    if NBGRADER in os.environ and not card:
        raise LearnerError(card.text())
    return card


def replay(exercise_id: str, *objects: Any, case: str, seed: int) -> Any:
    """Run one of a check's cases again, here, on your own class; a failing check prints the call.

    Args:
        exercise_id: such as "00.2".
        objects: what the exercise asks for, in its order.
        case, seed: as the check has printed them.

    Returns:
        The `World` in which it ran: ``print(world.trace)`` shows every event, ``world["n1"]`` a node as it was at the
        end, ``world.violation`` what went wrong.
    """
    exercise = catalogue.find(exercise_id)
    found = [one for one in exercise.cases if one.name == case]
    if not found:
        raise LearnerError(
            f"exercise {exercise.id} has no case {case!r}",
            do=f"choose from {', '.join(repr(one.name) for one in exercise.cases) or 'nothing: it has none'}",
        )
    return found[0].run(dict(zip(exercise.takes, objects, strict=True)), seed)


def hint(exercise_id: str, rung: int | None = None) -> HintCard:
    """The next hint to an exercise: first where to look, then what to ask yourself, then the answer's shape in words.

    Args:
        rung: 1, 2 or 3 to see that one again; without it, one further than last time.
    """
    exercise = catalogue.find(exercise_id)
    seen = max((entry["rung"] for entry in record.entries("hint") if entry.get("exercise") == exercise.id), default=0)
    number = min(seen + 1, len(exercise.hints)) if rung is None else rung
    if number not in range(1, len(exercise.hints) + 1):
        raise LearnerError(f"there is no hint {rung}", do=f"ask for 1 to {len(exercise.hints)}")
    record.add("hint", exercise=exercise.id, rung=number)
    return HintCard(exercise.id, number, exercise.hints[:number])


class Prediction:
    """A question asked before a cell runs, with the learner's guess; it never blocks, and it is never graded."""

    def __init__(self, name: str, question: str, options: Sequence[str]) -> None:
        self.name, self.question, self.options = name, question, tuple(options)
        self.actual = self.because = ""
        self._choices = Choices(question, options, chosen=self._remember)
        self.guess = ""

    def _remember(self, option: str) -> None:
        self.guess = option
        record.add("prediction", name=self.name, guess=option)

    def saw(self, actual: object, because: str = "") -> Table:
        """Put what happened beside what was predicted.

        Args:
            actual: what the cells have shown.
            because: why, in one sentence.
        """
        self.actual, self.because = str(actual), because
        return Table("", ("you predicted", "you saw", "because"), [self.row[1:]])

    @property
    def row(self) -> tuple[str, str, str, str]:
        return (self.question, self.guess or "(nothing)", self.actual or "(not run yet)", self.because)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._choices._repr_mimebundle_(**kwargs)


def predict(name: str, question: str, options: Sequence[str]) -> Prediction:
    """Ask for a guess before the run that answers it.

    Args:
        name: the prediction's name in this course, such as "12-lost".
        question: what is asked.
        options: the answers to choose from.
    """
    if len(options) < 2:
        raise LearnerError(f"the prediction {name!r} has {len(options)} option(s)", do="give at least two")
    _predictions[name] = Prediction(name, question, options)
    return _predictions[name]


def what_you_saw() -> Table:
    """This lesson's predictions beside what happened."""
    rows = [prediction.row for prediction in _predictions.values()]
    return Table("What you saw", ("question", "you predicted", "you saw", "because"), rows)


def progress() -> CourseMap:
    """What is done and what comes next, over the whole course, from the record beside the notebooks."""
    return CourseMap(standing())


def _described(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
