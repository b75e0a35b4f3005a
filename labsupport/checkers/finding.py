"""What a checker found out: ok, violation or unknown, and for each anomaly the operations and facts that prove it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from typing import Any

from labsupport.checkers.drawing import draw
from labsupport.history import Operation

MOST_DRAWN = 30  # operations; nobody can read more


class Result(str, enum.Enum):
    """The three answers of a checker; unknown is never counted as ok."""

    OK = "ok"
    VIOLATION = "violation"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """One thing that must not happen, with its proof.

    Args:
        name: what the field calls it: "stale read", "lost", "G1c".
        summary: one sentence that says what happened.
        reasons: the facts that clash, one sentence each.
        operations: the certificate; where the checker can, the smallest part of the history that is still a violation.
        key: the key, topic or term it concerns.
        picture: the operations against time, drawn with text; "" where a checker looked at logs.
    """

    name: str
    summary: str
    reasons: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()
    key: Any = None

    @property
    def picture(self) -> str:
        shown = self.operations[-MOST_DRAWN:]
        hidden = len(self.operations) - len(shown)
        return f"({hidden:,} earlier operations)\n{draw(shown)}" if hidden else draw(shown)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.summary}"]
        if self.operations:
            lines.append(self.picture)
        return "\n".join([*lines, *(f"- {reason}" for reason in self.reasons)])

    def as_json(self) -> dict[str, Any]:
        """The anomaly as a JSON object."""
        return {
            "name": self.name,
            "summary": self.summary,
            "reasons": list(self.reasons),
            "operations": [operation.as_json() for operation in self.operations],
            "key": self.key,
        }


@dataclasses.dataclass(frozen=True)
class Finding:
    """The answer of one checker to one history; true when nothing is wrong.

    Args:
        checker: which checker, such as "linearizable".
        result: ok, violation or unknown.
        summary: one sentence.
        anomalies: what is wrong, the one with the smallest certificate first.
        details: numbers beside the verdict: the algorithm, the steps of its search, how much was looked at.
        witness: for a linearizable history, if asked for: its operations in an order that explains all results.
    """

    checker: str
    result: Result
    summary: str
    anomalies: tuple[Anomaly, ...] = ()
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    witness: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return self.result is Result.OK

    def __str__(self) -> str:
        return "\n\n".join([f"{self.checker}: {self.result.value}. {self.summary}", *map(str, self.anomalies)])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the anomalies, each once, in their order."""
        return tuple(dict.fromkeys(anomaly.name for anomaly in self.anomalies))

    def as_json(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return {
            "checker": self.checker,
            "result": self.result.value,
            "summary": self.summary,
            "anomalies": [anomaly.as_json() for anomaly in self.anomalies],
            "details": dict(self.details),
        }


def conclude(
    checker: str,
    anomalies: Iterable[Anomaly],
    *,
    good: str,
    unknown: str = "",
    details: dict[str, Any] | None = None,
    witness: tuple[Operation, ...] = (),
) -> Finding:
    """The finding that follows from the anomalies: a violation if there are any, else unknown if there is a reason.

    Args:
        checker: which checker.
        anomalies: what is wrong; they are put in order of size.
        good: the sentence for a history in which nothing is wrong.
        unknown: why nothing can be said of some of the history, or "".
        details, witness: as in `Finding`.
    """
    ordered = tuple(sorted(anomalies, key=lambda anomaly: len(anomaly.operations)))
    if ordered:
        rest = f" ({len(ordered) - 1} more)" if len(ordered) > 1 else ""
        result, summary = Result.VIOLATION, f"{ordered[0].name}: {ordered[0].summary}{rest}"
    elif unknown:
        result, summary = Result.UNKNOWN, unknown
    else:
        result, summary = Result.OK, good
    return Finding(checker, result, summary, ordered, details or {}, witness)
