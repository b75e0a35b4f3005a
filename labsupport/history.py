"""What a run has shown, as plain data: the verdict of a check."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any


class Outcome(str, enum.Enum):
    """The four answers of a check."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_STARTED = "not started"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found out about one answer to one exercise; true when it passed.

    Args:
        exercise: the exercise's id, such as "12.1".
        outcome: one of the four answers.
        summary: one sentence that says what happened, in the learner's terms.
        misconception: the name under which the exercise lists this mistake, "" when none fits.
        expected, got: the two sides of the comparison that failed.
        evidence: the events that prove it, one line each, in the order in which they happened.
        seed: the seed that the check's cases were drawn from.
        replay: one line of Python that runs the same check again.
        printed: what the learner's code printed during the check, cut to a bounded length.
    """

    exercise: str
    outcome: Outcome
    summary: str
    misconception: str = ""
    expected: str = ""
    got: str = ""
    evidence: tuple[str, ...] = ()
    seed: int = 0
    replay: str = ""
    printed: str = ""

    def __bool__(self) -> bool:
        return self.outcome is Outcome.PASS

    def as_json(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return dataclasses.asdict(self) | {"outcome": self.outcome.value, "evidence": list(self.evidence)}
