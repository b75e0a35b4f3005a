"""Unique ids: no id is handed out twice."""

from __future__ import annotations

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical
from labsupport.history import Ending, History, Operation


def unique_ids(history: History, kind: str = "generate") -> Finding:
    """Whether the results of all operations of one kind differ.

    Args:
        history: operations whose result is an id, any JSON value. One without an answer has handed out nothing.
        kind: which operations to look at.

    Source: Maelstrom's unique-ids workload.

    >>> unique_ids(History([
    ...     Operation("a", "generate", result=7, called=0, returned=1),
    ...     Operation("b", "generate", result=7, called=2, returned=3),
    ... ])).names
    ('duplicate id',)
    """
    by_id: dict = {}
    answered = [op for op in history if op.kind == kind and op.ending is Ending.OK]
    for operation in answered:
        by_id.setdefault(canonical(operation.result), []).append(operation)
    anomalies = [_duplicate(same) for same in by_id.values() if len(same) > 1]
    unknown = "" if answered else "No id was handed out, so nothing can be said."
    details = {"ids": len(by_id), "answered": len(answered)}
    return conclude(
        "unique ids", anomalies, good=f"{len(by_id):,} ids, all different.", unknown=unknown, details=details
    )


def _duplicate(same: list[Operation]) -> Anomaly:
    who = " and ".join(str(operation.client) for operation in same[:2])
    summary = f"the id {same[0].result!r} was handed out {len(same)} times, to {who}."
    return Anomaly("duplicate id", summary, (), tuple(same[:2]))
