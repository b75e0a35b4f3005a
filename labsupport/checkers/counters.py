"""Linearizability of a counter that is incremented blindly and read, without search, in O(n log n).

Reads fix how many increments come before them. Going through the values read, from the lowest up, each is reached as
early as an increment's return or a read forces it, with the increments that return first.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush

from labsupport.checkers.register import Decision
from labsupport.history import Ending, Operation


def decide(operations: Sequence[Operation], initial: int) -> Decision:
    """Whether "add" of 1 and "read" operations on one counter are linearizable.

    `ok` is None if other numbers are added, or an add tells the new number.
    """
    adds, reads = [], []
    for operation in operations:
        if operation.ending is Ending.FAILED:
            continue
        if operation.kind == "add":
            if operation.value not in (None, 1) or operation.value is True or operation.result is not None:
                return Decision(None)
            adds.append(operation)
        elif operation.ending is Ending.OK:
            if type(operation.result) is not int:
                return Decision(None)
            reads.append(operation)
    stuck = _place(adds, reads, initial)
    return Decision(True) if stuck is None else _explained(adds, reads, initial, stuck)


def _place(adds: Sequence[Operation], reads: Sequence[Operation], initial: int) -> int | None:
    """Put all increments and reads in order; the value at which that is impossible, or None."""
    by_value: dict[int, list[Operation]] = {}
    for read in reads:
        by_value.setdefault(read.result - initial, []).append(read)
    values = sorted(by_value)
    if values and values[0] < 0:
        return values[0]
    entry, least = {}, math.inf
    for value in reversed(values):
        least = min(least, *(read.returned for read in by_value[value]))
        entry[value] = least
    calls = sorted((add.called, place) for place, add in enumerate(adds))
    returns = [math.inf if add.returned is None else add.returned for add in adds]
    unplaced = sorted(returns)  # of all increments that are not in the order yet
    ready: list[float] = []  # returns of those of them that were called
    placed = called = 0
    left = -math.inf  # when the last value was left

    def call_until(moment: float) -> None:
        nonlocal called
        while called < len(calls) and calls[called][0] <= moment:
            heappush(ready, returns[calls[called][1]])
            called += 1

    for value in values:
        missing = value - placed
        forced = unplaced[missing] if missing < len(unplaced) else math.inf
        reached = min(entry[value], forced)
        if reached < left:
            return value
        call_until(reached)
        for _ in range(missing):
            if not ready:
                return value
            ret = heappop(ready)
            del unplaced[bisect_left(unplaced, ret)]
        placed = value
        left = max(reached, *(read.called for read in by_value[value]))
        call_until(left)
        if ready and ready[0] < left:
            return value
    return None


def _explained(adds, reads: Sequence[Operation], initial: int, stuck: int) -> Decision:
    """The violation in words: a read below what was complete, above what had begun, or two reads that go back."""
    complete = sorted((add for add in adds if add.returned is not None), key=lambda add: add.returned)
    ends, starts = [add.returned for add in complete], sorted(add.called for add in adds)
    for read in reads:
        low = bisect_left(ends, read.called)
        if read.result - initial < low:
            needed = max(read.result - initial + 1, 0)
            summary = f"{read.text} although {low} increments were complete before it began."
            return Decision(False, "lost increment", summary, (), (*complete[:needed], read))
        high = bisect_right(starts, read.returned)
        if read.result - initial > high:
            summary = f"{read.text} although only {high} increments had begun before it was over."
            begun = tuple(add for add in adds if add.called <= read.returned)
            return Decision(False, "too many", summary, (), (*begun, read))
    by_return, highest, place = sorted(reads, key=lambda read: read.returned), None, 0
    for read in reads:
        while by_return[place].returned < read.called:
            if highest is None or by_return[place].result > highest.result:
                highest = by_return[place]
            place += 1
        if highest is not None and highest.result > read.result:
            summary = f"{highest.text} was over before {read.text} began: the counter went back."
            return Decision(False, "went back", summary, (), (highest, read))
    summary = f"no order of the increments lets the counter be {stuck + initial} when it was read."
    return Decision(False, "no order", summary, (), tuple(sorted([*adds, *reads], key=lambda op: op.called)))
