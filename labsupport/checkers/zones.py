"""Linearizability of reads and writes of unique values, decided without any search in O(n log n).

Source: P. B. Gibbons and E. Korach, *Testing Shared Memories*, SIAM J. Computing 26(4), 1997, and the register case of
Lee and Mathur (OOPSLA 2025). With unique values every legal order is a sequence of blocks, one for each value: its
write, then its reads. Block A has to come before block B exactly if some operation of A returned before some operation
of B was called, that is if ``A.first_return < B.last_call``. Along a chordless cycle of three or more blocks the first
returns would fall all the way round, so the history is linearizable unless two blocks each have to come before the
other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from itertools import pairwise
from operator import attrgetter

from labsupport.checkers.register import NEVER, READ, WRITE, Decision, Entry, edge


class Zone:
    """One block: between which return and which call its value was certainly held.

    Args:
        label: the value, or the first value of a chain of them.
        first_return, last_call: over all operations of the block; minus infinity for the initial value's.
        first, last: the entries that attain the two.
        writer: the entry that made the value; None for the initial value.
        between: for a chain of values (see `chains`), the cas operations that hold it together.
    """

    __slots__ = ("between", "first", "first_return", "label", "last", "last_call", "writer")

    def __init__(self, label: Hashable, writer: Entry | None) -> None:
        self.label, self.between = label, ()
        self.writer = self.first = self.last = writer
        self.first_return, self.last_call = (-NEVER, -NEVER) if writer is None else (writer.ret, writer.call)

    @property
    def forward(self) -> bool:
        """The value is certainly held throughout (first_return, last_call)."""
        return self.first_return < self.last_call

    def add(self, entry: Entry) -> None:
        if entry.ret < self.first_return:
            self.first_return, self.first = entry.ret, entry
        if entry.call > self.last_call:
            self.last_call, self.last = entry.call, entry


def decide(entries: Sequence[Entry], initial: Hashable, *, witness: bool = False) -> Decision:
    """Whether reads and writes of one register are linearizable; `ok` is None if a value was written twice.

    Args:
        entries: READs and WRITEs of one register, by call.
        initial: its value at the start.
        witness: also give a legal order.
    """
    zones = {initial: Zone(initial, None)}
    reads = []
    for entry in entries:
        if entry.kind is WRITE:
            if entry.makes in zones:
                return Decision(None)
            zones[entry.makes] = Zone(entry.makes, entry)
        elif entry.kind is READ:
            reads.append(entry)
        else:
            return Decision(None)
    for read in reads:
        zone = zones.get(read.sees)
        if zone is None:
            return never_written(read)
        ret = read.ret
        writer = zone.writer
        if writer is not None and ret < writer.call:
            return read_before_written(read, writer)
        if ret < zone.first_return:
            zone.first_return, zone.first = ret, read
        if read.call > zone.last_call:
            zone.last_call, zone.last = read.call, read
    pair = conflict(zones.values())
    if pair is not None:
        return explained(*pair)
    return Decision(True, witness=_order(entries, zones) if witness else ())


def never_written(read: Entry) -> Decision:
    return Decision(
        False,
        "never written",
        f"{read.text} saw a value that nobody has written.",
        ("Corrupt data, or the value of another key: no order of these operations can explain it.",),
        (read,),
    )


def read_before_written(reader: Entry, writer: Entry) -> Decision:
    return Decision(
        False,
        "read before written",
        f"{reader.text} was over before {writer.text} began, and yet saw its value.",
        (edge(reader, writer) + ".",),
        (writer, reader),
    )


def conflict(zones) -> tuple[Zone, Zone] | None:
    """Two zones of which each has to come before the other, the first of them a forward one; None if there are none."""
    forward = sorted((zone for zone in zones if zone.first_return < zone.last_call), key=attrgetter("first_return"))
    # The first conflict ends the search, so all earlier zones are disjoint and only the neighbour can overlap.
    for before, after in pairwise(forward):
        if after.first_return < before.last_call:
            return before, after
    starts = [zone.first_return for zone in forward]
    for zone in zones:
        if zone.first_return >= zone.last_call:
            place = bisect_left(starts, zone.last_call) - 1
            if place >= 0 and zone.first_return < forward[place].last_call:
                return forward[place], zone
    return None


def explained(outer: Zone, inner: Zone) -> Decision:
    """The violation that two zones in conflict are, in words, with at most six entries as certificate."""
    involved = [outer.writer, outer.first, outer.last, inner.writer, inner.first, inner.last]
    involved += [*outer.between, *inner.between]
    different = {id(entry): entry for entry in involved if entry is not None}
    certificate = sorted(different.values(), key=lambda entry: entry.call)
    late = outer.last
    if outer.writer is None:
        name = "lost write"
        what = "the initial value" if not outer.between else "a value that was already overwritten"
        summary = f"{late.text} saw {what} although the effect of {inner.writer.text} was complete."
    elif inner.forward:
        name = "split view"
        summary = f"the values of {outer.writer.text} and {inner.writer.text} swap back and forth."
    elif inner.first is inner.writer:
        name = "stale read"
        summary = f"{late.text} saw an old value: {inner.writer.text} had begun and finished in between."
    else:
        name = "new then old"
        summary = f"{inner.first.text} saw the new value, and {late.text}, called later, saw the old one again."
    reasons = (_fact(outer, inner), "But " + _fact(inner, outer))
    return Decision(False, name, summary, reasons, tuple(certificate))


def _fact(before: Zone, after: Zone) -> str:
    order = f"all about {_named(before)} comes before all about {_named(after)}."
    if before.first is None:
        return f"the initial value was there from the start: {order}"
    return f"{edge(before.first, after.last)}: {order}"


def _named(zone: Zone) -> str:
    name = "the initial value" if zone.writer is None else zone.writer.text
    return f"{name} and the cas operations that follow it" if zone.between else name


def places(zones) -> dict[int, tuple[float, int]]:
    """For each zone (by its id) a key; in the order of these keys the blocks make a legal order."""
    forward = sorted((zone for zone in zones if zone.forward), key=attrgetter("first_return"))
    starts = [zone.first_return for zone in forward]
    place = {id(zone): (zone.first_return, 1) for zone in forward}
    for zone in zones:
        if not zone.forward:
            left = bisect_left(starts, zone.last_call) - 1
            inside = left >= 0 and zone.last_call < forward[left].last_call
            place[id(zone)] = (forward[left].last_call if inside else zone.last_call, 0)
    return place


def _order(entries: Sequence[Entry], zones: dict[Hashable, Zone]) -> tuple[Entry, ...]:
    place = places(zones.values())
    number = {value: index for index, value in enumerate(zones)}  # keeps blocks whole where places tie

    def key(entry: Entry):
        value = entry.makes if entry.kind is WRITE else entry.sees
        return place[id(zones[value])], number[value], entry.kind is READ, entry.call

    return tuple(sorted(entries, key=key))
