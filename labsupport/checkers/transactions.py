"""Isolation of transactions: aborted and intermediate reads, and cycles of dependencies, found as Elle finds them.

Source: K. Kingsbury and P. Alvaro, *Elle: Inferring Isolation Anomalies from Experimental Observations*, VLDB 2020,
with A. Adya's names for the phenomena (1999).

A history consists of "txn" operations whose value is a list of steps [what, key, value] and whose result is the same
list with what was read filled in. What a step can be depends on the workload: see `list_append` and `rw_register`.
"""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.checkers import list_append, rw_register
from labsupport.checkers.dependencies import (
    PROCESS,
    REALTIME,
    RW,
    WR,
    WW,
    Dependencies,
    add_process_order,
    add_real_time_order,
    shortest_cycle,
)
from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.errors import LearnerError
from labsupport.history import Ending, History, Operation

WORKLOADS = {"list-append": list_append.infer, "rw-register": rw_register.infer}

# What each consistency model forbids. Cycles are named by their edges: G0 writes only; G1c also reads of what was
# written; G-single one missed write; G2 several. A suffix says that the order of clients or of time is on the cycle.
_READ_UNCOMMITTED = frozenset({"G0", "duplicate elements", "incompatible order", "never written"})
_READ_COMMITTED = _READ_UNCOMMITTED | {"G1a", "G1b", "G1c", "cyclic versions"}
_SNAPSHOT = _READ_COMMITTED | {"G-single", "internal", "lost update"}
_SERIALIZABLE = _SNAPSHOT | {"G2"}
_CYCLES = frozenset({"G0", "G1c", "G-single", "G2"})
_SESSION = _SERIALIZABLE | {f"{name}-process" for name in _CYCLES}
FORBIDDEN = {
    "read-uncommitted": _READ_UNCOMMITTED,
    "read-committed": _READ_COMMITTED,
    "snapshot-isolation": _SNAPSHOT,
    "serializable": _SERIALIZABLE,
    "strong-session-serializable": _SESSION,
    "strict-serializable": _SESSION | {f"{name}-realtime" for name in _CYCLES},
}


def transactions(history: History, workload: str = "list-append", model: str = "strict-serializable") -> Finding:
    """Whether the transactions of a history keep what a consistency model promises.

    Args:
        history: "txn" operations. A FAILED one was aborted; one without an answer was committed if its effect was seen.
        workload: "list-append" or "rw-register".
        model: one of `FORBIDDEN`.

    A clean history is no proof: anomalies are found if the reads show them, and lists show far more than registers.

    >>> finding = transactions(History([
    ...     Operation("a", "txn", value=[["r", "x", None], ["append", "y", 1]],
    ...               result=[["r", "x", []], ["append", "y", 1]], called=0, returned=5),
    ...     Operation("b", "txn", value=[["r", "y", None], ["append", "x", 2]],
    ...               result=[["r", "y", []], ["append", "x", 2]], called=0, returned=5),
    ...     Operation("c", "txn", value=[["r", "x", None], ["r", "y", None]],
    ...               result=[["r", "x", [2]], ["r", "y", [1]]], called=6, returned=7),
    ... ]), model="serializable")
    >>> print(finding.anomalies[0].name, *finding.anomalies[0].reasons, sep="\\n")
    G2
    txn(x = [], append y 1) comes before txn(y = [], append x 2): it read x as [], without 2 (rw).
    txn(y = [], append x 2) comes before txn(x = [], append y 1): it read y as [], without 1 (rw).
    >>> bool(transactions(history=History(finding.anomalies[0].operations), model="snapshot-isolation"))
    True
    """
    for name, table in ((workload, WORKLOADS), (model, FORBIDDEN)):
        if name not in table:
            raise LearnerError(f"There is no {name!r} to check.", do=f"choose one of {', '.join(table)}")
    chosen = [op for op in history if op.kind == "txn"]
    inferred = WORKLOADS[workload](chosen)
    forbidden = FORBIDDEN[model]
    every = [*inferred.anomalies, *_cycles(inferred.graph, chosen)]
    found = [anomaly for anomaly in every if anomaly.name in forbidden]
    committed = sum(op.ending is Ending.OK for op in chosen)
    unknown = "" if committed else "No transaction was committed, so nothing can be said."
    details = {
        "model": model,
        "committed": committed,
        "transactions": len(chosen),
        "edges": sum(len(why) for after in inferred.graph.after for why in after.values()),
        "tolerated": sorted({anomaly.name for anomaly in every if anomaly.name not in forbidden}),
    }
    good = f"{committed:,} transactions show nothing that {model} forbids."
    return conclude("transactions", found, good=good, unknown=unknown, details=details)


def _cycles(graph: Dependencies, chosen: Sequence[Operation]) -> list[Anomaly]:
    """The shortest cycle of each kind; an order of clients or of time is brought in after all others."""
    anomalies = _cycles_with(graph, chosen, "", ())
    add_process_order(graph, chosen)
    anomalies += _cycles_with(graph, chosen, "-process", (PROCESS,))
    add_real_time_order(graph, chosen)
    anomalies += _cycles_with(graph, chosen, "-realtime", (PROCESS, REALTIME))
    return anomalies


def _cycles_with(graph: Dependencies, chosen, suffix: str, order: tuple[str, ...]) -> list[Anomaly]:
    found = []
    for name, closing, others in (
        ("G0", WW, (WW,)),
        ("G1c", WR, (WW, WR)),
        ("G-single", RW, (WW, WR)),
        ("G2", RW, (WW, WR, RW)),
    ):
        rest = (*others, *order)
        cycle = shortest_cycle(graph, closing, frozenset((closing, *rest)), frozenset(rest))
        if cycle is None:
            continue
        edges = []
        for place, number in enumerate(cycle):
            following = cycle[(place + 1) % len(cycle)]
            edges.append(graph.why(number, following, rest if place else (closing,)))
        kinds = [kind for kind, _ in edges]
        named_before = name == "G2" and kinds.count(RW) < 2
        if not named_before and (not order or order[-1] in kinds):
            found.append(_in_words(name + suffix, cycle, edges, chosen))
    return found


def _in_words(name: str, cycle: list[int], edges: list[tuple[str, str]], chosen: Sequence[Operation]) -> Anomaly:
    texts = [chosen[number].text for number in cycle]
    reasons = tuple(
        f"{text} comes before {following}: {why} ({kind})."
        for text, following, (kind, why) in zip(texts, texts[1:] + texts[:1], edges, strict=True)
    )
    what = {
        "G0": "writes of transactions interleave",
        "G1c": "transactions saw one another's writes in a circle",
        "G-single": "one transaction saw an effect of another and missed another effect",
        "G2": "each transaction missed a write of the next",
    }[name.removesuffix("-process").removesuffix("-realtime")]
    against = {"process": ", against the order of one client", "realtime": ", against the order of time"}
    summary = f"{len(cycle)} transactions have no order: {what}{against.get(name.rpartition('-')[2], '')}."
    return Anomaly(name, summary, reasons, tuple(chosen[number] for number in cycle))
