"""The smallest part of a history that is still a violation.

Only steps that weaken the claim are taken, so what remains is a true violation, for the same reason: the future is cut
off, operations that only look are left out, and changes are treated as if their answer had not come. Change operations
are never left out while somebody may have seen their effect; that could make a violation out of nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence

from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation

# Each try begins further back, by one part in so many: most violations concern neighbours, and whether what overlaps
# the beginning can explain too much is a matter of luck.
RESETS_GROWTH = 10
MOST_CHECKS = 300  # bounds the time: with more, the certificate is small enough or will not become so


def shrink(
    operations: Sequence[Operation],
    violates: Callable[[Sequence[Operation]], bool],
    looks: Callable[[Operation], bool],
    resets: frozenset[str],
) -> tuple[Operation, ...]:
    """A small part of the operations that is still a violation.

    Args:
        operations: a violation, by call.
        violates: whether operations are one.
        looks: whether an operation changes nothing.
        resets: the kinds of operation after which nothing earlier matters.
    """
    checks = 0

    def still(candidate: Sequence[Operation]) -> bool:
        nonlocal checks
        checks += 1
        return checks <= MOST_CHECKS and violates(candidate)

    kept = _since(list(operations), still, looks, resets)
    for place in range(len(kept) - 1, -1, -1) if len(kept) <= MOST_CHECKS // 2 else ():
        rest = kept[:place] + kept[place + 1 :]
        if looks(kept[place]) and still(rest):
            kept = rest
    for place, operation in enumerate(kept) if len(kept) <= MOST_CHECKS // 2 else ():
        if operation.returned is not None and not looks(operation):
            weaker = [*kept[:place], without_answer(operation), *kept[place + 1 :]]
            if still(weaker):
                kept = weaker
    explained = _needed(kept)
    return tuple(explained if still(explained) else kept)


def without_answer(operation: Operation) -> Operation:
    """The operation as if its answer had not come."""
    return dataclasses.replace(operation, result=None, returned=None, ending=Ending.UNKNOWN)


def until(operations: Sequence[Operation], moment: float, looks: Callable[[Operation], bool]) -> list[Operation]:
    """What was known at one moment: later calls are gone, later returns have not come."""
    kept = []
    for operation in operations:
        if operation.called <= moment:
            if operation.returned is not None and operation.returned <= moment:
                kept.append(operation)
            elif not looks(operation):
                kept.append(without_answer(operation))
    return kept


def _since(operations, still, looks, resets) -> list[Operation]:
    """The operations from a late reset on, if they are a violation without what came before it.

    Whatever returned before the reset was called cannot matter any more; of that only who made a value that was seen is
    kept, to tell the stale from the never written. What overlaps the reset may matter or not: it counts as unanswered.
    """
    answered = [op for op in operations if op.returned is not None and op.kind in resets]
    answered.sort(key=lambda operation: operation.returned, reverse=True)
    place = 0
    while place < len(answered):
        reset = answered[place]
        candidate = []
        for operation in operations:
            if operation is reset or operation.called > reset.returned or operation.returned is None:
                candidate.append(operation)
            elif operation.returned >= reset.called and not looks(operation):
                candidate.append(without_answer(operation))
        makers = _last_makers(operations, reset.called, candidate, looks)
        if makers is not None and still([*makers, *candidate]):
            return [*makers, *candidate]
        place += 1 + place // RESETS_GROWTH
    return operations


def _last_makers(operations, moment: float, observers: Sequence[Operation], looks) -> list[Operation] | None:
    """For each value that an observer saw and nobody can have made by then, who wrote it last before that moment.

    None if only a cas made it: that would need a maker of its own.
    """
    last: dict[Hashable, Operation] = {}
    for operation in operations:
        if operation.returned is not None and operation.returned < moment and not looks(operation):
            before = last.get(_made(operation))
            if operation.kind != "cas" or before is None or before.kind == "cas":
                last[_made(operation)] = operation
    makers: dict[Hashable, list[Operation]] = {}
    for operation in observers:
        if not looks(operation):
            makers.setdefault(_made(operation), []).append(operation)
    found: dict[int, Operation] = {}
    for observer in observers:
        until_then = math.inf if observer.returned is None else observer.returned
        for value in _seen(observer):
            in_time = [op for op in makers.get(value, ()) if op is not observer and op.called <= until_then]
            if not in_time and value in last:
                found[id(last[value])] = last[value]
    if any(maker.kind == "cas" for maker in found.values()):
        return None
    return sorted(found.values(), key=lambda operation: operation.called)


def _needed(operations: Sequence[Operation]) -> list[Operation]:
    """Without the unanswered changes whose effect no other operation mentions."""
    if any(op.kind == "cas" and op.result is False for op in operations):
        return list(operations)  # any other value explains a cas that failed
    makers: dict[Hashable, list[Operation]] = {}
    seen: list[Hashable] = []
    for operation in operations:
        if operation.returned is None and operation.value is not None:
            makers.setdefault(_made(operation), []).append(operation)
        else:
            seen += _seen(operation)
    needed, followed = set(), set()
    texts = [op.result for op in operations if op.returned is not None and isinstance(op.result, str)]
    for value in makers:
        if isinstance(value, str) and any(value in text for text in texts):
            seen.append(value)  # a text that was put together from appended ones
    while seen:
        value = seen.pop()
        if value not in followed:
            followed.add(value)
            for maker in makers.get(value, ()):
                needed.add(id(maker))
                seen += _seen(maker)
    return [op for op in operations if op.returned is not None or op.value is None or id(op) in needed]


def _made(operation: Operation) -> Hashable:
    return canonical(operation.value[1] if operation.kind == "cas" else operation.value)


def _seen(operation: Operation) -> list[Hashable]:
    values = [canonical(operation.value[0])] if operation.kind == "cas" else [canonical(operation.result)]
    if isinstance(operation.result, (list, tuple)):
        values += map(canonical, operation.result)
    if operation.kind in ("contains", "remove"):
        values.append(canonical(operation.value))
    return values
