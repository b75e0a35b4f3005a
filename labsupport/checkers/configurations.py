"""Linearizability of any register history: values may repeat, clients may crash. A search over configurations.

Source: G. Lowe, *Testing for Linearizability*, Concurrency and Computation 29(4), 2017 (just-in-time linearization), as
in Knossos. The search goes breadth first over the *returns*. A configuration says what may be true at that moment: the
register's state, and which of the operations that are still pending have already taken effect. Four reductions keep
their number small, and none loses an answer:

- **Eager reads.** A pending operation that changes nothing takes effect as soon as the state allows it.
- **Hidden writes.** A write that nobody saw may have happened immediately before the write that overwrote it. So no
  pending write is guessed early: when it returns, it may still be hidden before the last plain write, if it was called
  by then. A configuration therefore remembers `since`: at which return the last plain write was put in.
- **Symmetry.** Among unanswered operations with equal arguments the one called last is used first.
- **Dominance.** Of two configurations that differ only in unanswered operations, the one that has used fewer of them,
  and whose last write is later, can do all that the other can.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from heapq import heappop, heappush

from labsupport.checkers.register import CAS, MAYBE, NEVER, NOT, READ, WRITE, Decision, Entry, cut

UNSEEN = object()  # the state before a hidden write: nobody has seen it, only a plain write leaves it
START = -1  # the `since` of a configuration before any plain write


class Pending:
    """An operation that was called and has not returned yet.

    Args:
        entry: the operation.
        bit: its bit in the masks of configurations. One that is never answered has its own for ever.
        after: how many operations had returned before it was called.
    """

    __slots__ = ("after", "bit", "entry", "kind", "makes", "sees", "unanswered")

    def __init__(self, entry: Entry, bit: int, after: int) -> None:
        self.entry, self.bit, self.after = entry, bit, after
        self.kind, self.sees, self.makes = entry.kind, entry.sees, entry.makes
        self.unanswered = entry.ret == NEVER


class _Search:
    """The pending operations and the configurations, at one moment."""

    def __init__(self, initial: Hashable, budget: int) -> None:
        self.alive: dict[tuple[Hashable, int], int] = {(initial, 0): START}
        self.writes: dict[int, Pending] = {}
        self.swaps: dict[int, Pending] = {}
        self.looks: dict[int, Pending] = {}
        self.unanswered = 0  # the bits of all operations that are never answered
        self.steps, self.budget = 0, budget

    def call(self, pending: Pending) -> None:
        kind, bit = pending.kind, pending.bit
        if kind is WRITE:
            self.writes[bit] = pending
        elif kind is CAS or kind is MAYBE:
            self.swaps[bit] = pending
        else:
            self.looks[bit] = pending
        if pending.unanswered:
            self.unanswered |= bit

    def look(self, new: Sequence[Pending]) -> None:
        """Let operations that change nothing, called since the last return, take effect where they match."""
        following: dict[tuple[Hashable, int], int] = {}
        for (state, mask), since in self.alive.items():
            for pending in new:
                if (state == pending.sees) is (pending.kind is READ):
                    mask |= pending.bit
            if following.get((state, mask), -2) < since:
                following[state, mask] = since
        self.alive = following

    def answer(self, pending: Pending, moment: int) -> bool:
        """Let one operation return: keep and extend the configurations in which it has taken effect by then."""
        bit = pending.bit
        following: dict[tuple[Hashable, int], int] = {}
        for (state, mask), since in self.alive.items():
            if mask & bit:
                found = ((state, mask, since),)
            else:
                found = self._forward(pending, state, mask, since, moment)
                if pending.after <= since:
                    found = [*found, *self._hidden(pending, state, mask, since)]
            for state_after, mask_after, since_after in found:
                place = (state_after, mask_after & ~bit)
                if following.get(place, -2) < since_after:
                    following[place] = since_after
        self.steps += len(self.alive) + len(following)
        for group in (self.writes, self.swaps, self.looks):
            group.pop(bit, None)
        if following:
            self.alive = self._undominated(following)
        return bool(following)

    def _forward(self, target: Pending, state, mask: int, since: int, moment: int) -> Iterator[tuple]:
        """The ways to let the target take effect now, last of all."""
        stack = [(state, mask, since, False)]
        while stack and self.steps <= self.budget:
            state, mask, since, written = stack.pop()
            for swap in self._usable(self.swaps, mask, state, moment):
                self.steps += 1
                mask_after = self._saw(swap.makes, mask | swap.bit, moment)
                if mask_after & target.bit:
                    yield swap.makes, mask_after, since
                else:
                    stack.append((swap.makes, mask_after, since, written))
            if written:
                continue
            for write in self._candidates(target, mask, moment):
                self.steps += 1
                mask_after = self._saw(write.makes, mask | write.bit, moment)
                if mask_after & target.bit:
                    yield write.makes, mask_after, moment
                else:
                    stack.append((write.makes, mask_after, moment, True))

    def _hidden(self, target: Pending, state, mask: int, since: int) -> Iterator[tuple]:
        """The ways in which the target took effect unseen, immediately before the last plain write.

        Each way is a write and cas operations after it; they may go on after the target.
        """
        stack = []
        for write in self._candidates(target, mask, since):
            stack.append((write.makes, self._saw(write.makes, mask | write.bit, since)))
        while stack and self.steps <= self.budget:
            self.steps += 1
            value, mask = stack.pop()
            if mask & target.bit:
                yield state, mask, since
            for swap in self._usable(self.swaps, mask, value, since):
                stack.append((swap.makes, self._saw(swap.makes, mask | swap.bit, since)))

    def _candidates(self, target: Pending, mask: int, moment: int) -> Iterator[Pending]:
        """The plain writes that can help the target to take effect."""
        if target.kind is WRITE:
            return iter((target,))
        if self.swaps:
            return self._usable(self.writes, mask, UNSEEN, moment)
        # Without a cas in between the written value itself has to suit the target.
        wanted = target.kind is READ
        usable = self._usable(self.writes, mask, UNSEEN, moment)
        return (write for write in usable if (write.makes == target.sees) is wanted)

    def _usable(self, group: dict[int, Pending], mask: int, state, moment: int) -> Iterator[Pending]:
        """The pending writes, or the cas operations that expect the state, called by then and not used yet."""
        latest: dict[tuple, Pending] = {}
        for bit, pending in group.items():
            if mask & bit or pending.after > moment or (state is not UNSEEN and pending.sees != state):
                continue
            if not pending.unanswered:
                yield pending
            elif pending.kind is WRITE or pending.sees != pending.makes:
                like = (pending.sees, pending.makes)
                if like not in latest or latest[like].after <= pending.after:
                    latest[like] = pending
        yield from latest.values()

    def _saw(self, state, mask: int, moment: int) -> int:
        """The mask after a change of state: pending operations that only look take effect where they match."""
        for bit, pending in self.looks.items():
            if pending.after <= moment and (state == pending.sees) is (pending.kind is READ):
                mask |= bit
        return mask

    def _undominated(self, configurations: dict[tuple[Hashable, int], int]) -> dict[tuple[Hashable, int], int]:
        if not self.unanswered or len(configurations) < 2:
            return configurations
        groups: dict[tuple[Hashable, int], list[tuple[int, int]]] = {}
        for (state, mask), since in configurations.items():
            groups.setdefault((state, mask & ~self.unanswered), []).append((mask & self.unanswered, since))
        kept = {}
        for (state, mask), group in groups.items():
            group.sort(key=lambda used_since: (used_since[0].bit_count(), -used_since[1]))
            best: list[tuple[int, int]] = []
            for used, since in group:
                self.steps += 1 + len(best) // 4
                if not any(less & ~used == 0 and later >= since for less, later in best):
                    best.append((used, since))
                    kept[state, mask | used] = since
        return kept

    def possible(self) -> list[Hashable]:
        """The values that a read could see now, by some configuration."""
        reached = list(dict.fromkeys(state for state, _ in self.alive))
        reached += [write.makes for write in self.writes.values()]
        for value in reached:
            reached += [swap.makes for swap in self.swaps.values() if swap.sees == value and swap.makes not in reached]
        return list(dict.fromkeys(reached))


def decide(entries: Sequence[Entry], initial: Hashable, *, budget: int) -> Decision:
    """Whether the history of one register is linearizable; `ok` is None when the budget is spent.

    Args:
        entries: all kinds of entries of one register, by call.
        initial: its value at the start.
        budget: how many steps to spend at most.
    """
    search = _Search(initial, budget)
    moments = [(entry.call, 0, place) for place, entry in enumerate(entries)]
    moments += [(entry.ret, 1, place) for place, entry in enumerate(entries) if entry.ret != NEVER]
    moments.sort()
    free, width = [], 0
    crashed_bit = _most_at_once(moments)
    pendings: dict[int, Pending] = {}
    new: list[Pending] = []
    answered = 0
    for _, is_return, place in moments:
        entry = entries[place]
        if not is_return:
            if entry.ret == NEVER:
                slot, crashed_bit = crashed_bit, crashed_bit + 1
            elif free:
                slot = heappop(free)
            else:
                slot, width = width, width + 1
            pending = Pending(entry, 1 << slot, answered)
            pendings[place] = pending
            search.call(pending)
            if entry.kind is READ or entry.kind is NOT:
                new.append(pending)
            continue
        pending = pendings.pop(place)
        if new:
            search.look(new)
            new = []
        before = search.alive
        possible = search.answer(pending, answered)
        if search.steps > budget:
            return Decision(None, steps=search.steps)
        if not possible:
            search.alive = before
            return _stuck(entries, entry, search)
        heappush(free, pending.bit.bit_length() - 1)
        answered += 1
    return Decision(True, steps=search.steps)


def _most_at_once(moments: Sequence[tuple]) -> int:
    """How many slots answered operations need, so that those of unanswered ones can begin above."""
    most = now = 0
    for _, is_return, _ in moments:
        now += -1 if is_return else 1
        most = max(most, now)
    return most


def _stuck(entries: Sequence[Entry], entry: Entry, search: _Search) -> Decision:
    """The violation at the return where no configuration is left; what came later does not matter."""
    relevant = cut(entries, entry)
    possible = search.possible()
    values = " or ".join(repr(value) for value in possible[:4])
    return Decision(
        False,
        "no order",
        f"no order of the operations lets {entry.text} return at {entry.ret}.",
        (f"Possible values here: {values}{' or others' if len(possible) > 4 else ''}.",),
        relevant,
        steps=search.steps,
    )
