"""Linearizability of an append-only log whose appends tell their offsets, without search, in O(n log n).

The offsets fix the order of the appends; each read is then put at the lowest place that its answer and time allow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from itertools import accumulate

from labsupport.checkers.register import Decision
from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation


def decide(operations: Sequence[Operation]) -> Decision:
    """Whether "append" and "read" operations on one log are linearizable.

    `ok` is None if a value was appended twice, or a complete append does not tell its offset.
    """
    appends: dict[Hashable, Operation] = {}
    reads = []
    for operation in operations:
        if operation.kind == "append" and operation.ending is not Ending.FAILED:
            value = canonical(operation.value)
            untold = operation.ending is Ending.OK and type(operation.result) is not int
            if value in appends or value is None or untold:
                return Decision(None)
            appends[value] = operation
        elif operation.kind == "read" and operation.ending is Ending.OK:
            reads.append(operation)
    at, tellers, wrong = _offsets(appends, reads)
    if wrong is None:
        order, wrong = _filled(at, appends)
    if wrong is None:
        wrong = _appends_in_time(order) or _reads_in_time(order, reads)
    if wrong is None:
        return Decision(True)
    # Who told the offset of an append belongs to the proof.
    involved = {
        id(op): op for append in wrong.certificate for op in (append, tellers.get(canonical(append.value), append))
    }
    wrong.certificate = tuple(sorted(involved.values(), key=lambda operation: operation.called))
    return wrong


def _offsets(appends, reads) -> tuple[dict[int, Operation], dict[Hashable, Operation], Decision | None]:
    """At which offset each append is, as far as clients were told; and for each value who told it."""
    at: dict[int, Operation] = {}
    offset_of: dict[Hashable, int] = {}
    tellers: dict[Hashable, Operation] = {}
    claims = [(append.result, value, append) for value, append in appends.items() if append.ending is Ending.OK]
    claims += [(read.value, canonical(read.result), read) for read in reads if read.result is not None]
    for offset, value, claim in claims:
        append = appends.get(value)
        if append is None:
            return (
                at,
                tellers,
                Decision(False, "never appended", f"{claim.text} got what nobody appended.", (), (claim,)),
            )
        if claim.precedes(append):
            summary = f"{claim.text} was over before {append.text} began."
            return at, tellers, Decision(False, "read before appended", summary, (), (claim, append))
        other = at.setdefault(offset, append)
        known, teller = offset_of.setdefault(value, offset), tellers.setdefault(value, claim)
        if other is not append or offset < 0:
            summary = f"offset {offset} holds both {other.value!r} and {append.value!r}."
            involved = {id(op): op for op in (other, append, claim)}
            return at, tellers, Decision(False, "two values at one offset", summary, (), tuple(involved.values()))
        if known != offset:
            summary = f"{append.value!r} is at offset {known} by {teller.text}, and at {offset} by {claim.text}."
            involved = {id(op): op for op in (append, teller, claim)}
            return at, tellers, Decision(False, "one value at two offsets", summary, (), tuple(involved.values()))
    return at, tellers, None


def _filled(at: dict[int, Operation], appends) -> tuple[list[Operation], Decision | None]:
    """The appends in their order; what nobody was told of fills the gaps, the earliest called first."""
    placed = {id(append) for append in at.values()}
    spare = iter([append for append in appends.values() if id(append) not in placed])
    order: list[Operation] = []
    for offset in range(max(at, default=-1) + 1):
        append = at.get(offset) or next(spare, None)
        if append is None:
            above = at[min(known for known in at if known > offset)]
            summary = f"nothing can be at offset {offset}, below {above.text}."
            return order, Decision(False, "gap", summary, (), (above,))
        order.append(append)
    return order, None


def _appends_in_time(order: Sequence[Operation]) -> Decision | None:
    latest: Operation | None = None
    for append in order:
        if latest is not None and append.precedes(latest):
            summary = f"{append.text} was complete before {latest.text} began, and has the higher offset."
            return Decision(False, "appends out of order", summary, (), (append, latest))
        if latest is None or append.called > latest.called:
            latest = append
    return None


def _reads_in_time(order: Sequence[Operation], reads: Sequence[Operation]) -> Decision | None:
    """Put each read at the lowest length of the log that fits; a violation if none does."""
    complete = sorted((append.returned, place) for place, append in enumerate(order) if append.returned is not None)
    ends = [moment for moment, _ in complete]
    longest = [0, *accumulate((place + 1 for _, place in complete), max)]
    begun = sorted((append.called, place) for place, append in enumerate(order))
    starts = [moment for moment, _ in begun]
    shortest = [*list(accumulate((place for _, place in reversed(begun)), min))[::-1], len(order)]
    by_return = sorted(reads, key=lambda read: read.returned)
    length_of: dict[int, int] = {}
    floor, floor_read, place = 0, None, 0
    for read in sorted(reads, key=lambda read: read.called):
        while by_return[place].returned < read.called:
            if length_of[id(by_return[place])] > floor:
                floor, floor_read = length_of[id(by_return[place])], by_return[place]
            place += 1
        known = longest[bisect_left(ends, read.called)]
        low = max(floor, known, read.value + 1 if read.result is not None else 0)
        high = shortest[bisect_right(starts, read.returned)]
        if read.result is None:
            high = min(high, read.value)
        if low > high:
            return _too_short(read, order, known, floor, floor_read)
        length_of[id(read)] = low
    return None


def _too_short(read: Operation, order, known: int, floor: int, floor_read: Operation | None) -> Decision:
    if read.result is None and known > read.value:
        append = next(append for append in order[read.value :] if append.precedes(read))
        summary = f"{read.text} found the end, although {append.text} was complete."
        return Decision(False, "lost append", summary, (), (*order[: order.index(append) + 1], read))
    if floor_read is not None and read.result is None and floor > read.value:
        summary = f"{floor_read.text} was over before {read.text} began, and the log was shorter then."
        return Decision(False, "went back", summary, (), (floor_read, read))
    summary = f"no length of the log explains {read.text}."
    return Decision(False, "no order", summary, (), (*order, read))
