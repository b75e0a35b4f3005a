"""Agreement of replicated logs: no two nodes apply different entries at one place, and clients were told the truth.

Replicas can disagree for good while no client has noticed yet, so the applied logs are looked at themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical
from labsupport.history import Ending, History, Operation

Logs = Mapping[Hashable, Sequence[Any] | Mapping[int, Any]]


def log_agreement(
    logs: Logs, history: History | None = None, *, command: Callable[[Operation], Any] | None = None
) -> Finding:
    """Whether the logs that the nodes applied agree with one another, and with what clients were told.

    Args:
        logs: for each node its applied entries, as a list from index 0, or as a mapping from index to entry if it
            begins with a snapshot. A shorter log is allowed.
        history: if given, its operations are compared with the entries too: an acknowledged one is in the log, a failed
            one is not, nothing is there twice or that nobody asked for, and the log keeps the order in real time.
        command: the entry that an operation makes, None if it makes none; its value if not given. Entries are unique.

    Source: Raft's state machine safety (Ongaro and Ousterhout 2014, figure 3); the agreement, validity and integrity of
    atomic broadcast (V. Hadzilacos and S. Toueg, 1994).

    >>> print(log_agreement({"n1": ["a", "b"], "n2": ["a", "c"], "n3": ["a"]}).summary)
    different entries: n1 applied 'b' at index 1, and n2 applied 'c'.
    """
    placed = {node: _placed(log) for node, log in logs.items()}
    chosen: dict[int, tuple[Hashable, Any]] = {}
    anomalies: list[Anomaly] = []
    for node, log in placed.items():
        for index in sorted(log):
            first, entry = chosen.setdefault(index, (node, log[index]))
            if canonical(entry) != canonical(log[index]):
                summary = f"{first} applied {entry!r} at index {index}, and {node} applied {log[index]!r}."
                anomalies.append(Anomaly("different entries", summary, (), (), index))
                break
    if history is not None:
        anomalies += _against(history, chosen, command or (lambda operation: operation.value))
    applied = len(chosen)
    unknown = "" if applied else "No node has applied anything, so nothing can be said."
    good = f"{len(placed)} nodes agree on {applied:,} entries."
    details = {"nodes": len(placed), "entries": applied}
    return conclude("log agreement", anomalies, good=good, unknown=unknown, details=details)


def _placed(log: Sequence[Any] | Mapping[int, Any]) -> Mapping[int, Any]:
    return log if isinstance(log, Mapping) else dict(enumerate(log))


def _against(history: History, chosen: Mapping[int, tuple[Hashable, Any]], command) -> Iterator[Anomaly]:
    asked = {}
    for operation in history:
        entry = command(operation)
        if entry is not None:
            asked[canonical(entry)] = operation
    index_of: dict[Hashable, int] = {}
    for index in sorted(chosen):
        node, entry = chosen[index]
        operation = asked.get(canonical(entry))
        if operation is None:
            if entry is not None:  # a leader's empty entry
                yield Anomaly("never asked for", f"{node} applied {entry!r} at index {index}; nobody asked for it.")
        elif operation.ending is Ending.FAILED:
            summary = f"{operation.text} failed for certain, and {node} applied it at index {index}."
            yield Anomaly("failed but applied", summary, (), (operation,), index)
        elif canonical(entry) in index_of:
            summary = f"{entry!r} was applied twice, at index {index_of[canonical(entry)]} and at {index}."
            yield Anomaly("applied twice", summary, (), (operation,), index)
        else:
            index_of[canonical(entry)] = index
    for entry, operation in asked.items():
        if operation.ending is Ending.OK and entry not in index_of:
            summary = f"{operation.text} was acknowledged at {operation.returned}, and no node has applied it."
            yield Anomaly("lost", summary, (), (operation,))
    yield from _out_of_order([asked[entry] for entry in index_of])


def _out_of_order(in_log: Sequence[Operation]) -> Iterator[Anomaly]:
    latest: Operation | None = None
    for operation in in_log:
        if latest is not None and operation.precedes(latest):
            summary = f"{latest.text} is in the log before {operation.text}, which was over before it began."
            yield Anomaly("out of order", summary, (), (operation, latest))
            return
        if latest is None or operation.called > latest.called:
            latest = operation
