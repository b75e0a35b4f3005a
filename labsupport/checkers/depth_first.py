"""Linearizability for any model: depth first, with a memory of what was tried.

Source: J. Wing and C. Gong, *Testing and Verifying Concurrent Objects*, J. Parallel and Distributed Computing 17, 1993;
the memory is G. Lowe's (2017), as in Porcupine. Here its key has constant size: which return is the first whose
operation is not placed yet, which of the operations pending there are placed, and the state. An operation that only
looks is placed as soon as the state allows it, and candidates are tried in the order of their returns.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush

from labsupport.checkers.models import IMPOSSIBLE, Model
from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation


@dataclasses.dataclass
class Searched:
    """What the search found.

    Args:
        ok: whether there is a legal order; None if the budget was spent first.
        steps: how many states were visited.
        order: the legal order, or the longest beginning of one.
        blamed: for a violation, the operation at whose return no order was left.
    """

    ok: bool | None
    steps: int
    order: tuple[Operation, ...] = ()
    blamed: Operation | None = None


def search(operations: Sequence[Operation], model: Model, *, budget: int) -> Searched:
    """Look for an order of the operations that the model can run.

    Args:
        operations: of one part of the object, by call.
        model: the sequential object.
        budget: how many states to visit at most.
    """
    operations = [op for op in operations if _matters(op, model)]
    returns = [math.inf if op.returned is None else op.returned for op in operations]
    answered = sorted((place for place in range(len(operations)) if returns[place] < math.inf), key=returns.__getitem__)
    windows = _Windows(operations, returns, answered, model.looks)
    bits = windows.bits
    hints = _Hints(operations, returns, answered, model, bits)
    visited = set()
    steps = furthest = 0
    best: tuple[int, ...] = ()

    def settle(first: int, mask: int, state, path: tuple) -> tuple[int, int, tuple]:
        """Place what only looks and matches now; move to the first return that is still open."""
        while first < len(answered):
            for place in windows.looks(first):
                if not mask & bits[place] and model.step(state, operations[place]) is not IMPOSSIBLE:
                    mask |= bits[place]
                    path = (path, place)
            if not mask & bits[answered[first]]:
                break
            while first < len(answered) and mask & bits[answered[first]]:
                mask &= ~bits[answered[first]]
                first += 1
        return first, mask, path

    first, mask, path = settle(0, 0, model.initial, ())
    stack = [(first, mask, model.initial, path)]
    while stack:
        first, mask, state, path = stack.pop()
        if first == len(answered):
            return Searched(True, steps, tuple(operations[place] for place in _unrolled(path)))
        if (first, mask, state) in visited:
            continue
        visited.add((first, mask, state))
        steps += 1
        if steps > budget:
            return Searched(None, steps, tuple(operations[place] for place in _unrolled(best)))
        if first > furthest or not best:
            furthest, best = first, path
        following = []
        for place in windows.changes(first, mask):
            after = model.step(state, operations[place])
            if after is not IMPOSSIBLE:
                settled = settle(first, mask | bits[place], after, (path, place))
                hopeless = hints.hopeless(settled[0], settled[1], after)
                if hopeless is None:
                    following.append((*settled, after))
                elif hopeless > furthest:
                    furthest, best = hopeless, settled[2]
        stack += [(first, mask, state, path) for first, mask, path, state in reversed(following)]
    blamed = operations[answered[furthest]]
    return Searched(False, steps, tuple(operations[place] for place in _unrolled(best)), blamed)


def _matters(operation: Operation, model: Model) -> bool:
    """What had no effect, or only looked and got no answer, does not."""
    if operation.ending is Ending.FAILED:
        return False
    return operation.ending is Ending.OK or operation.kind not in model.looks


def _unrolled(path: tuple) -> list[int]:
    places = []
    while path:
        path, place = path
        places.append(place)
    return places[::-1]


class _Windows:
    """For each return, the operations that may be placed while it is the first open one.

    Args:
        bits: for each operation its bit in the masks; two that are pending together never share one.
    """

    def __init__(self, operations, returns, answered, looks) -> None:
        self._crashed = [place for place, ret in enumerate(returns) if ret == math.inf]
        self._kinds = [(operation.kind, canonical(operation.value)) for operation in operations]
        self._pending: list[tuple[tuple[int, ...], tuple[int, ...], int]] = []
        self.bits = _bits(operations, returns)
        called = crashed = 0
        active: dict[int, None] = {}
        for place in answered:
            while called < len(operations) and operations[called].called <= returns[place]:
                if returns[called] == math.inf:
                    crashed += 1
                else:
                    active[called] = None
                called += 1
            in_order = sorted(active, key=returns.__getitem__)
            looking = tuple(place for place in in_order if operations[place].kind in looks)
            self._pending.append((looking, tuple(place for place in in_order if place not in looking), crashed))
            del active[place]

    def looks(self, first: int) -> tuple[int, ...]:
        """Those that only look."""
        return self._pending[first][0]

    def changes(self, first: int, mask: int) -> list[int]:
        """Those that change the state and are not in the mask; of equal unanswered ones the first."""
        _, answered, crashed = self._pending[first]
        places = [place for place in answered if not mask & self.bits[place]]
        different: dict[tuple, int] = {}
        for place in self._crashed[:crashed]:
            if not mask & self.bits[place]:
                different.setdefault(self._kinds[place], place)
        return places + list(different.values())


class _Hints:
    """Which branches can still explain the next answer that somebody got by looking; see `Model.leads_to`."""

    def __init__(self, operations, returns, answered, model: Model, bits: Sequence[int]) -> None:
        self._model, self._operations, self._returns, self._bits = model, operations, returns, bits
        self._answered = answered
        self._used = type(model).leads_to is not Model.leads_to
        rank = {place: number for number, place in enumerate(answered)}
        self._looks = [place for place in answered if operations[place].kind in model.looks] if self._used else []
        self._ranks = [rank[place] for place in self._looks]
        resets = [place for place, operation in enumerate(operations) if operation.kind in model.resets]
        self._resets = [(place, rank.get(place, math.inf)) for place in resets]

    def hopeless(self, first: int, mask: int, state) -> int | None:
        """The return of the look that nothing can explain any more; None if there is hope."""
        if not self._used or first == len(self._answered):
            return None
        for number in range(bisect_left(self._ranks, first), len(self._looks)):
            look = self._looks[number]
            if self._open(look, first, mask):
                break
        else:
            return None
        deadline = self._returns[look]
        for place, rank in self._resets:
            if self._operations[place].called > deadline:
                break
            if rank >= first and self._open(place, first, mask):
                return None
        return None if self._model.leads_to(state, self._operations[look]) else self._ranks[number]

    def _open(self, place: int, first: int, mask: int) -> bool:
        """Whether an operation is not placed yet; bits speak only of those called by the first open return."""
        return self._operations[place].called > self._returns[self._answered[first]] or not mask & self._bits[place]


def _bits(operations: Sequence[Operation], returns: Sequence[float]) -> list[int]:
    bits, free, width = [0] * len(operations), [], 0
    busy: list[tuple[float, int]] = []
    for place, operation in enumerate(operations):
        while busy and busy[0][0] < operation.called:
            heappush(free, heappop(busy)[1])
        if free:
            slot = heappop(free)
        else:
            slot, width = width, width + 1
        bits[place] = 1 << slot
        heappush(busy, (returns[place], slot))
    return bits
