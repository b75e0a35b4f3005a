"""Linearizability of sets, without search where everything is read at once, element by element where it is asked for.

A grow-only set with full reads: the reads must be nested, and then the order is a sequence of blocks: the additions
that the smallest read shows, the reads that show exactly these, the additions that are new in the next read, and so on.
A set with "add", "remove" and "contains" is one register of two values for each element (linearizability is local).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from labsupport.checkers import configurations
from labsupport.checkers.register import NEVER, READ, WRITE, Decision, Entry
from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation


def decide(operations: Sequence[Operation], budget: int) -> Decision:
    """Whether operations on one set are linearizable; `ok` is None if reads and removals are mixed."""
    operations = [op for op in operations if op.ending is not Ending.FAILED]
    kinds = {operation.kind for operation in operations}
    if kinds <= {"add", "remove", "contains"}:
        return _by_element(operations, budget)
    if kinds <= {"add", "read"}:
        return _grow_only(operations)
    return Decision(None)


def _by_element(operations: Sequence[Operation], budget: int) -> Decision:
    parts: dict[Hashable, list[Entry]] = {}
    for operation in operations:
        ret = NEVER if operation.returned is None else operation.returned
        part = parts.setdefault(canonical(operation.value), [])
        if operation.kind != "contains":
            part.append(Entry(operation.called, ret, WRITE, None, operation.kind == "add", operation))
        elif operation.ending is Ending.OK:
            part.append(Entry(operation.called, ret, READ, operation.result, None, operation))
    steps, unknown = 0, False
    for part in parts.values():
        decision = configurations.decide(part, False, budget=budget - steps)
        steps += decision.steps
        if decision.ok is False:
            decision.steps = steps
            return decision
        unknown = unknown or decision.ok is None
        if steps > budget:
            return Decision(None, steps=steps)
    return Decision(None if unknown else True, steps=steps)


def _grow_only(operations: Sequence[Operation]) -> Decision:
    adds: dict[Hashable, Operation] = {}
    reads: list[tuple[frozenset, Operation]] = []
    for operation in operations:
        if operation.kind == "add":
            if canonical(operation.value) in adds:
                return Decision(None)
            adds[canonical(operation.value)] = operation
        elif operation.ending is Ending.OK:
            reads.append((frozenset(map(canonical, operation.result)), operation))
    reads.sort(key=lambda read: len(read[0]))
    # Blocks in their order, and beside each operation a read that shows why it belongs there.
    blocks: list[list[Operation]] = []
    shown: frozenset = frozenset()
    before: Operation | None = None
    for elements, read in reads:
        strange = [element for element in elements if element not in adds]
        if strange:
            return Decision(False, "never added", f"{read.text} shows {strange[0]!r}, which nobody added.", (), (read,))
        if not shown <= elements:
            summary = f"{before.text} and {read.text} each lack an element that the other has."
            return Decision(False, "not nested", summary, (), (before, read))
        if elements != shown or not blocks:
            blocks += [[adds[element] for element in sorted(elements - shown, key=lambda one: adds[one].called)], []]
            shown = elements
        blocks[-1].append(read)
        before = read
    blocks.append([add for element, add in adds.items() if element not in shown and add.ending is Ending.OK])
    return _in_order(blocks)


def _in_order(blocks: Sequence[Sequence[Operation]]) -> Decision:
    """A violation if an operation of a later block was over before one of an earlier block began."""
    latest: Operation | None = None
    latest_at = 0
    for place, block in enumerate(blocks):
        for operation in block:
            if latest is not None and operation.precedes(latest):
                return _out_of_order(operation, latest, blocks, latest_at)
        for operation in block:
            if latest is None or operation.called > latest.called:
                latest, latest_at = operation, place
    return Decision(True)


def _out_of_order(early: Operation, late: Operation, blocks, latest_at: int) -> Decision:
    certificate = [early, late]
    if early.kind == "read" and late.kind == "add":
        name, what = "read before added", f"{early.text} shows {late.value!r} before {late.text} began."
        if canonical(late.value) not in set(map(canonical, early.result)):
            certificate.append(blocks[latest_at + 1][0])
    elif early.kind == "add" and late.kind == "read":
        name, what = "lost element", f"{late.text} lacks {early.value!r}, although {early.text} was complete."
    elif early.kind == "read":
        name, what = "went back", f"{early.text} was over before {late.text} began, which shows less."
    else:
        read = blocks[latest_at + 1][0]
        name = "lost element"
        what = f"{read.text} shows {late.value!r} and lacks {early.value!r}, which was added before."
        certificate.append(read)
    reason = f"{early.text} returned ({early.returned}) before {late.text} was called ({late.called})."
    return Decision(False, name, what, (reason,), tuple(sorted(certificate, key=lambda operation: operation.called)))
