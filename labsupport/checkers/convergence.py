"""Convergence: what was added is there in the end, everywhere, for broadcasts, sets and counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from itertools import pairwise

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical
from labsupport.history import Ending, History, Operation

ADDS = frozenset({"add", "broadcast"})
QUANTILES = (0, 0.5, 0.95, 0.99, 1)
MOST_SUMS = 100_000  # sums that unanswered additions may make; beyond it only the bounds are checked


def broadcast(history: History, final_from: float | None = None) -> Finding:
    """Whether every element that was known to be there stays: no element is lost for good.

    An element is known once its "add" (or "broadcast") was acknowledged or a "read" has shown it. It is *lost* if a
    read that began later lacks it and no read after that shows it again. While it comes and goes it is *stale*, which
    is counted but allowed.

    Args:
        history: "add" or "broadcast" operations with a unique value; "read" operations whose result is a list.
        final_from: reads that began then or later have to show everything that was acknowledged. For Jepsen an element
            that only some of the nodes have in the end is lost or not by which of them is read last.

    Source: the set-full checker of Jepsen, which Maelstrom's broadcast and g-set workloads use.

    >>> finding = broadcast(History([
    ...     Operation("a", "broadcast", value=1, called=0, returned=1),
    ...     Operation("a", "read", result=[1], called=2, returned=3),
    ...     Operation("b", "read", result=[], called=4, returned=5),
    ... ]))
    >>> finding.names, finding.details["lost"]
    (('lost',), 1)
    """
    adds, reads = _adds(history), _reads(history)
    shown = [(read, Counter(map(canonical, read.result))) for read in reads]
    anomalies = _never_added(adds, shown)
    for read, elements in shown:
        twice = [element for element, count in elements.items() if count > 1]
        if twice:
            summary = f"{read.client} read the element {twice[0]!r} {elements[twice[0]]} times."
            anomalies.append(Anomaly("duplicated", summary, (), (read,)))
            break
    if final_from is not None:
        anomalies += _missing(adds, [one for one in shown if one[0].called >= final_from])
    lost, stale, latencies, never_read = [], 0, [], 0
    for element, add in adds.items():
        state, number, latency = _fate(element, add, shown)
        if state == "lost":
            lost.append(_lost(element, add, shown))
        elif state == "never read":
            never_read += 1
        elif state == "stable":
            stale += number > 0
            latencies.append(latency)
    details = {
        "elements": len(adds),
        "lost": len(lost),
        "never read": never_read,
        "stale": stale,
        "stable latency": _quantiles(latencies),
    }
    unknown = "" if latencies else "No element was seen by a read to the end, so nothing can be said."
    good = f"{len(latencies):,} elements were there to the end; {stale:,} of them were missing from some read before."
    return conclude("broadcast", [*anomalies, *lost], good=good, unknown=unknown, details=details)


def _fate(element: Hashable, add: Operation, shown) -> tuple[str, int, float]:
    """What became of an element: its state, how many reads lacked it after it was known, its stable latency."""
    known = add.returned if add.ending is Ending.OK else None
    last_present = last_absent = None
    absences = 0
    for read, elements in shown:
        if element in elements:
            if last_present is None or read.called > last_present.called:
                last_present = read
            if known is None or read.returned < known:
                known = read.returned
    if known is None:
        return "never known", 0, 0
    for read, elements in shown:
        if element not in elements and read.called > known:
            absences += 1
            if last_absent is None or read.called > last_absent.called:
                last_absent = read
    if last_absent is not None and (last_present is None or last_present.called < last_absent.called):
        return "lost", absences, 0
    if last_present is None:
        return "never read", 0, 0
    return "stable", absences, 0 if last_absent is None else last_absent.called - known


def _lost(element: Hashable, add: Operation, shown) -> Anomaly:
    present = [read for read, elements in shown if element in elements]
    absent = [read for read, elements in shown if element not in elements]
    seen = f"was last seen by {present[-1].client} ({present[-1].called})" if present else "was never seen by a read"
    last = absent[-1]
    summary = f"{add.text} {seen}; {last.client} read without it later ({last.called}), and nobody has it again."
    evidence = (add, *present[-1:], last)
    return Anomaly("lost", summary, (), evidence)


def final_reads(history: History) -> Finding:
    """Whether the last reads of all clients agree: all that was acknowledged, nothing that nobody has added.

    Only reads that began after the last acknowledged addition returned count as last ones.

    Args:
        history: as for `broadcast`; let the system come to rest, then read once at every node.

    Source: M. Shapiro et al., *Conflict-free Replicated Data Types*, SSS 2011 (eventual convergence).

    >>> final_reads(History([
    ...     Operation("a", "add", value=1, called=0, returned=1),
    ...     Operation("a", "read", result=[1], called=2, returned=3),
    ...     Operation("b", "read", result=[], called=2, returned=3),
    ... ])).names
    ('missing', 'diverged')
    """
    adds = _adds(history)
    last = _last_reads(history)
    shown = [(read, Counter(map(canonical, read.result))) for read in last]
    anomalies = _never_added(adds, shown)
    anomalies += _missing(adds, shown)
    for (one, its), (other, others) in pairwise(shown):
        if set(its) != set(others):
            difference = sorted(map(repr, set(its) ^ set(others)))
            summary = f"the last reads of {one.client} and {other.client} differ, in {', '.join(difference[:4])}."
            anomalies.append(Anomaly("diverged", summary, (), (one, other)))
            break
    unknown = "" if last else "Nobody has read after the last addition was acknowledged."
    good = f"the last reads of {len(last)} clients agree."
    return conclude("final reads", anomalies, good=good, unknown=unknown, details={"reads": len(last)})


def counter_total(history: History) -> Finding:
    """Whether every last read of a counter is the sum of what was acknowledged and some of what has no answer.

    Args:
        history: "add" operations with a number; "read" operations whose result is a number.

    Source: Maelstrom's g-counter and pn-counter workloads.

    >>> counter_total(History([
    ...     Operation("a", "add", value=2, called=0, returned=1),
    ...     Operation("b", "add", value=5, called=0, ending=Ending.UNKNOWN),
    ...     Operation("a", "read", result=5, called=3, returned=4),
    ... ])).anomalies[0].summary
    'the last read of a is 5; possible are 2, 7.'
    """
    acknowledged = sum(op.value for op in history if op.kind in ADDS and op.ending is Ending.OK)
    maybe = [op.value for op in history if op.kind in ADDS and op.ending is Ending.UNKNOWN]
    possible: set[int] | range = {acknowledged}
    for delta in maybe:
        if len(possible) > MOST_SUMS:
            low = acknowledged + sum(delta for delta in maybe if delta < 0)
            possible = range(low, acknowledged + sum(delta for delta in maybe if delta > 0) + 1)
            break
        possible = possible | {total + delta for total in possible}
    last = _last_reads(history)
    anomalies = []
    for read in last:
        if read.result not in possible:
            values = ", ".join(map(str, sorted(possible)[:6])) + (", ..." if len(possible) > 6 else "")
            summary = f"the last read of {read.client} is {read.result!r}; possible are {values}."
            anomalies.append(Anomaly("wrong total", summary, (), (read,)))
    unknown = "" if last else "Nobody has read after the last addition was acknowledged."
    good = f"the last reads of {len(last)} clients are a possible total."
    details = {"acknowledged": acknowledged, "unanswered": len(maybe), "reads": len(last)}
    return conclude("counter total", anomalies, good=good, unknown=unknown, details=details)


def _adds(history: History) -> dict[Hashable, Operation]:
    return {canonical(op.value): op for op in history if op.kind in ADDS and op.ending is not Ending.FAILED}


def _reads(history: History) -> list[Operation]:
    return [op for op in history if op.kind == "read" and op.ending is Ending.OK and op.result is not None]


def _last_reads(history: History) -> list[Operation]:
    settled = max((op.returned for op in history if op.kind in ADDS and op.ending is Ending.OK), default=None)
    last = {read.client: read for read in _reads(history) if settled is None or read.called > settled}
    return list(last.values())


def _never_added(adds, shown) -> list[Anomaly]:
    for read, elements in shown:
        strange = [element for element in elements if element not in adds]
        if strange:
            summary = f"{read.client} read the element {strange[0]!r}, which nobody has added."
            return [Anomaly("never added", summary, (), (read,))]
    return []


def _missing(adds, shown) -> list[Anomaly]:
    """Final reads that lack what was acknowledged."""
    anomalies = []
    for read, elements in shown:
        absent = [add for element, add in adds.items() if add.ending is Ending.OK and element not in elements]
        if absent:
            summary = (
                f"the last read of {read.client} lacks {len(absent)} acknowledged elements, first {absent[0].text}."
            )
            anomalies.append(Anomaly("missing", summary, (), (absent[0], read)))
    return anomalies


def _quantiles(values: list[float]) -> dict[float, float]:
    ordered = sorted(values)
    return {part: ordered[min(int(len(ordered) * part), len(ordered) - 1)] for part in QUANTILES} if ordered else {}
