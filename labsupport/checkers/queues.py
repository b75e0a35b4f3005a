"""Linearizability of a first-in-first-out queue of unique values, without search, in O(n log n).

Source: the conditions of T. Henzinger, A. Sezgin and V. Vafeiadis, *Aspect-Oriented Linearizability Proofs*, CONCUR
2013: no value comes from nowhere or twice, no two values overtake each other, and nobody finds a queue empty that was
not.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from labsupport.checkers.models import EMPTY
from labsupport.checkers.register import Decision
from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation


def decide(operations: Sequence[Operation]) -> Decision:
    """Whether "enqueue" and "dequeue" operations on one queue are linearizable.

    `ok` is None if a value was enqueued twice, or a dequeue has no answer: that may have taken any value.
    """
    enqueued: dict[Hashable, Operation] = {}
    dequeued: dict[Hashable, Operation] = {}
    empty, again = [], None
    for operation in operations:
        if operation.ending is Ending.FAILED:
            continue
        if operation.kind == "enqueue":
            value = canonical(operation.value)
            if value in enqueued or value is EMPTY:
                return Decision(None)
            enqueued[value] = operation
        elif operation.ending is Ending.UNKNOWN:
            return Decision(None)
        elif operation.result is EMPTY:
            empty.append(operation)
        elif canonical(operation.result) in dequeued:
            again = again or operation
        else:
            dequeued[canonical(operation.result)] = operation
    if again is not None:
        both = (dequeued[canonical(again.result)], again)
        return Decision(False, "dequeued twice", f"the value {again.result!r} was dequeued twice.", (), both)
    for value, dequeue in dequeued.items():
        if value not in enqueued:
            return Decision(False, "never enqueued", f"{dequeue.text} got what nobody has put in.", (), (dequeue,))
        if dequeue.precedes(enqueued[value]):
            summary = f"{dequeue.text} was over before {enqueued[value].text} began."
            return Decision(False, "dequeued before enqueued", summary, (), (dequeue, enqueued[value]))
    there = {value: op for value, op in enqueued.items() if op.ending is Ending.OK or value in dequeued}
    return _overtaken(there, dequeued) or _not_empty(there, dequeued, empty) or Decision(True)


def _overtaken(enqueued: dict[Hashable, Operation], dequeued: dict[Hashable, Operation]) -> Decision | None:
    """Two values of which the first in is certainly the last out."""

    def out(value: Hashable) -> float:
        return dequeued[value].called if value in dequeued else math.inf

    by_return = sorted(
        (value for value in enqueued if enqueued[value].returned is not None),
        key=lambda value: enqueued[value].returned,
    )
    last_out: Hashable = None
    place = 0
    for value in sorted(enqueued, key=lambda value: enqueued[value].called):
        while place < len(by_return) and enqueued[by_return[place]].returned < enqueued[value].called:
            if last_out is None or out(by_return[place]) > out(last_out):
                last_out = by_return[place]
            place += 1
        if last_out is not None and value in dequeued and dequeued[value].returned < out(last_out):
            first, second = enqueued[last_out], enqueued[value]
            late = dequeued.get(last_out)
            reasons = (
                f"{first.text} returned ({first.returned}) before {second.text} was called ({second.called}).",
                f"{dequeued[value].text} returned ({dequeued[value].returned}), and only then "
                + (f"{late.text} was called ({late.called})." if late else f"{first.value!r} could have been taken."),
            )
            certificate = tuple(op for op in (first, second, dequeued[value], late) if op is not None)
            summary = f"{second.value!r} was put in after {first.value!r} and taken out before it."
            return Decision(False, "overtaken", summary, reasons, certificate)
    return None


def _not_empty(enqueued, dequeued, empty: Sequence[Operation]) -> Decision | None:
    """A dequeue that found nothing, although at every moment some value was certainly there."""
    held = []
    for value, enqueue in enqueued.items():
        until = dequeued[value].called if value in dequeued else math.inf
        if enqueue.returned is not None and enqueue.returned < until:
            held.append((enqueue.returned, until, value))
    held.sort(key=lambda span: span[:2])
    place, covering = 0, []
    for operation in sorted(empty, key=lambda operation: operation.called):
        while place < len(held) and held[place][0] < operation.called:
            covering.append(held[place])
            place += 1
        covering = [span for span in covering if span[1] > operation.called]
        chain = _cover(operation, covering, held[place:])
        if chain is not None:
            involved = [op for value in chain for op in (enqueued[value], dequeued.get(value)) if op is not None]
            certificate = tuple(sorted([*involved, operation], key=lambda operation: operation.called))
            values = ", ".join(repr(enqueued[value].value) for value in chain)
            summary = f"{operation.text} found nothing, although {values} was there all the time."
            return Decision(False, "not empty", summary, (), certificate)
    return None


def _cover(operation: Operation, started, later) -> list[Hashable] | None:
    """Few values whose spans together cover the operation; None if there is a moment without any."""
    spans = [*started, *(span for span in later if span[0] < operation.returned)]
    reached, chain, place = operation.called, [], 0
    while True:
        best = None
        while place < len(spans) and (spans[place][0] < reached or (not chain and spans[place][0] < operation.called)):
            if best is None or spans[place][1] > best[1]:
                best = spans[place]
            place += 1
        if best is None or best[1] <= reached:
            return None
        chain.append(best[2])
        reached = best[1]
        if reached > operation.returned:
            return chain
