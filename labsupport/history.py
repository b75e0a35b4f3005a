"""What a run has shown, as plain data: what clients asked and were told (a history), and the verdict of a check."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labsupport.errors import LearnerError


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
        trace: the run that proves it, as `labsupport.trace.Trace.as_json` tells it; None where there is none.
        again: one line of Python that makes this run again.
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
    trace: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    again: str = ""
    seed: int = 0
    replay: str = ""
    printed: str = ""

    def __bool__(self) -> bool:
        return self.outcome is Outcome.PASS

    def as_json(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return dataclasses.asdict(self) | {"outcome": self.outcome.value, "evidence": list(self.evidence)}


class Ending(str, enum.Enum):
    """How an operation ended, as its client knows it."""

    OK = "ok"  # it took effect, and the result is known
    FAILED = "failed"  # definite: it certainly had no effect, now or later
    UNKNOWN = "unknown"  # indefinite: a timeout, a crash, a lost reply; it may take effect at any time, or never


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One request of one client, from its call to its return.

    Args:
        client: who asked.
        kind: what was asked, in the words of the model: "read", "write", "cas", "enqueue", "txn" ...
        key: what it concerns; None where there is only one thing.
        value: what was asked for, as JSON-like data: the value to write, the pair (from, to) of a cas.
        result: what the client was told; meaningless unless the ending is OK.
        called: when the request left, in any unit of one clock; taken *before* it leaves.
        returned: when the answer was in; None for an unknown ending.
        ending: what the client knows. A cas whose comparison failed is OK with the result False: it has seen the
            value; a timeout is UNKNOWN, never FAILED, or correct systems are accused.

    >>> Operation("c1", "write", key="x", value=7, called=10, returned=12)
    c1: write(x, 7) [10, 12]
    >>> Operation("c2", "read", key="x", called=11, ending=Ending.UNKNOWN)
    c2: read(x) -> ? [11, ...
    """

    client: Any
    kind: str
    key: Any = None
    value: Any = None
    result: Any = None
    called: float = 0
    returned: float | None = None
    ending: Ending = Ending.OK

    def precedes(self, other: Operation) -> bool:
        """Whether this returned before the other was called; at equal times they are concurrent."""
        return self.returned is not None and self.returned < other.called

    @property
    def text(self) -> str:
        """The operation in words: ``write(x, 7)``, ``read(x) -> 7``; values exactly quoted, so that "1" is not 1."""
        if self.kind == "txn":
            return self._transaction
        asked = [str(self.key)] if self.key is not None else []
        if isinstance(self.value, (list, tuple)) and self.kind == "cas":
            asked += [repr(part) for part in self.value]
        elif self.value is not None:
            asked.append(repr(self.value))
        elif self.kind in ("write", "put", "add", "append", "enqueue"):
            asked.append("None")
        told = ""
        if self.ending is not Ending.OK:
            told = " -> ?" if self.ending is Ending.UNKNOWN else " -> failed"
        elif self.result is not None or not asked or self.kind in ("read", "get", "dequeue", "poll"):
            told = f" -> {self.result!r}"
        return f"{self.kind}({', '.join(asked)}){told}"

    @property
    def _transaction(self) -> str:
        known = self.ending is Ending.OK
        steps = []
        for what, key, value in self.result if known and self.result is not None else self.value:
            reads = what in ("r", "read")
            steps.append(
                f"{key} = {value!r}" if reads and known else f"{key} = ?" if reads else f"{what} {key} {value!r}"
            )
        return f"txn({', '.join(steps)}){'' if known else ' -> ?' if self.ending is Ending.UNKNOWN else ' -> failed'}"

    def __repr__(self) -> str:
        until = "..." if self.returned is None else f"{self.returned}]"
        return f"{self.client}: {self.text} [{self.called}, {until}"

    def as_json(self) -> dict[str, Any]:
        """The operation as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__} | {"ending": self.ending.value}


class History:
    """The operations of one run, in the order of their calls.

    Args:
        operations: in any order; each client has one at a time, except that it may go on after an unknown ending.

    Raises:
        LearnerError: the operations contradict themselves. That is a mistake of the recorder, never of the system.

    >>> History([Operation("c1", "read", result=None, called=5, returned=4)])
    Traceback (most recent call last):
    labsupport.errors.LearnerError: The history is malformed: c1: read() -> None [5, 4] returned before it was called.
    Likely cause: the recorder, not the system under test
    What to do: record the call before the request leaves and the return after the answer is in, on one clock
    """

    __slots__ = ("operations",)

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self.operations = tuple(sorted(operations, key=_in_time))
        _validate(self.operations)

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> History:
        """The history whose operations were written by `Operation.as_json`."""
        return cls(Operation(**{**row, "ending": Ending(row["ending"])}) for row in rows)

    def as_json(self) -> list[dict[str, Any]]:
        """The operations as a JSON array."""
        return [operation.as_json() for operation in self.operations]

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __getitem__(self, place):
        return self.operations[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.operations == other.operations

    def __hash__(self) -> int:
        return hash(len(self.operations))

    def __repr__(self) -> str:
        return f"<History of {len(self.operations)} operations>"


def _in_time(operation: Operation) -> tuple[float, float]:
    return operation.called, math.inf if operation.returned is None else operation.returned


def _validate(operations: tuple[Operation, ...]) -> None:
    busy_until: dict[Any, Operation] = {}
    for operation in operations:
        problem = ""
        if operation.returned is None:
            if operation.ending is not Ending.UNKNOWN:
                problem = "has an answer but no time of return"
        elif operation.ending is Ending.UNKNOWN:
            problem = "has a time of return although nobody knows how it ended"
        elif not operation.called <= operation.returned:
            problem = "returned before it was called"
        before = busy_until.get(operation.client)
        if before is not None and operation.called < before.returned:
            problem = f"was called before its client's last one was answered, {before!r}"
        if problem:
            raise LearnerError(
                f"The history is malformed: {operation!r} {problem}.",
                cause="the recorder, not the system under test",
                do="record the call before the request leaves and the return after the answer is in, on one clock",
            )
        if operation.returned is not None:
            busy_until[operation.client] = operation


class Recorder:
    """Writes a history down while it happens.

    >>> recorder = Recorder()
    >>> number = recorder.call("c1", "write", key="x", value=7, at=10)
    >>> recorder.ok(number, at=12)
    >>> _ = recorder.call("c2", "read", key="x", at=13)
    >>> list(recorder.history())
    [c1: write(x, 7) [10, 12], c2: read(x) -> ? [13, ...]
    """

    def __init__(self) -> None:
        self._operations: list[Operation] = []

    def call(self, client: Any, kind: str, *, at: float, key: Any = None, value: Any = None) -> int:
        """A request is about to leave; the number to give with its answer."""
        self._operations.append(Operation(client, kind, key, value, None, at, None, Ending.UNKNOWN))
        return len(self._operations) - 1

    def ok(self, number: int, result: Any = None, *, at: float) -> None:
        """The answer is in."""
        self._end(number, result=result, returned=at, ending=Ending.OK)

    def failed(self, number: int, *, at: float) -> None:
        """A definite error is in: the operation certainly had no effect."""
        self._end(number, returned=at, ending=Ending.FAILED)

    def _end(self, number: int, **known: Any) -> None:
        self._operations[number] = dataclasses.replace(self._operations[number], **known)

    def history(self) -> History:
        """What happened so far; what has no answer yet is unknown."""
        return History(self._operations)
