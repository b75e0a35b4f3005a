"""Linearizability of reads, writes and compare-and-set operations of unique values, in O(n log n).

A cas from a to b that succeeded reads a and writes b at the same instant, so the blocks of a and b (see `zones`) are
glued together. A *chain* starts at a plain write or at the initial value and is one contiguous piece of every legal
order. Inside a chain the order is fixed; between chains the argument of `zones` holds unchanged.

Source: the register case of Gibbons and Korach 1997, extended by chains. A failed cas ("the value is not a") may be
placeable only in another order of the chains than the one tried; then this module says that it cannot tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import NamedTuple

from labsupport.checkers.register import CAS, MAYBE, NOT, READ, WRITE, Decision, Entry, edge
from labsupport.checkers.zones import Zone, conflict, explained, never_written, places, read_before_written


class Link(NamedTuple):
    """One value of a chain: who made it (None: it was there at the start) and who read it."""

    value: Hashable
    writer: Entry | None
    reads: Sequence[Entry]


def decide(entries: Sequence[Entry], initial: Hashable, *, witness: bool = False) -> Decision:
    """Whether the history of one register is linearizable; `ok` is None where values repeat or a failed cas is stuck.

    Args:
        entries: all kinds of entries of one register, by call.
        initial: its value at the start.
        witness: also give a legal order.
    """
    writers: dict[Hashable, Entry | None] = {initial: None}
    readers: dict[Hashable, list[Entry]] = defaultdict(list)
    failed = []
    for entry in entries:
        if entry.kind is READ:
            readers[entry.sees].append(entry)
        elif entry.kind is NOT:
            failed.append(entry)
        elif entry.makes in writers:
            return Decision(None)
        else:
            writers[entry.makes] = entry
    replaced_by, wrong = _effective(writers, readers)
    chains, zones = [], []
    if wrong is None:
        chains, wrong = _chains(writers, readers, replaced_by)
    for chain in chains:
        zone, wrong = _walk(chain)
        zones.append(zone)
        if wrong is not None:
            break
    if wrong is None and (pair := conflict(zones)) is not None:
        wrong = explained(*map(_windowed, pair))
    if wrong is not None:
        wrong.certificate = _with_evidence(wrong.certificate, readers, replaced_by)
        return wrong
    if not failed and not witness:
        return Decision(True)
    order = _order(zones)
    if failed:
        order = _insert(order, sorted(failed, key=lambda entry: entry.call), initial)
        if order is None:
            return Decision(None)
    return Decision(True, witness=tuple(order))


def _effective(writers, readers) -> tuple[dict[Hashable, list[Entry]], Decision | None]:
    """For each value the cas operations that certainly replaced it.

    One without an answer took effect exactly if its value was seen; then it saw its own expected value too.
    """
    replaced_by: dict[Hashable, list[Entry]] = defaultdict(list)
    seen = list(readers)
    for writer in writers.values():
        if writer is not None and writer.kind is CAS:
            replaced_by[writer.sees].append(writer)
            seen.append(writer.sees)
    followed = set()
    while seen:
        value = seen.pop()
        if value in followed:
            continue
        followed.add(value)
        if value not in writers:
            observers = [*readers.get(value, ()), *replaced_by.get(value, ())]
            return replaced_by, never_written(min(observers, key=lambda entry: entry.ret))
        writer = writers[value]
        if writer is not None and writer.kind is MAYBE:
            replaced_by[writer.sees].append(writer)
            seen.append(writer.sees)
    for value, winners in replaced_by.items():
        if len(winners) > 1:
            return replaced_by, _double(value, winners[:2], writers[value])
    return replaced_by, None


def _with_evidence(certificate: Sequence[Entry], readers, replaced_by) -> tuple[Entry, ...]:
    """The certificate, and for each cas without an answer in it, who saw its value: only so did it take effect."""
    complete = {id(entry.operation): entry for entry in certificate}
    seen = {entry.sees for entry in certificate if entry.kind in (READ, CAS)}
    unproven = [entry.makes for entry in certificate if entry.kind is MAYBE]
    while unproven:
        value = unproven.pop()
        if value not in seen:
            proof = min(readers.get(value) or replaced_by[value], key=lambda entry: entry.ret)
            seen.add(value)
            complete.setdefault(id(proof.operation), proof)
            if proof.kind is MAYBE:
                unproven.append(proof.makes)
    return tuple(sorted(complete.values(), key=lambda entry: entry.call))


def _double(value: Hashable, winners: list[Entry], writer: Entry | None) -> Decision:
    one, other = winners
    reason = f"Each of them found the value {value!r} and replaced it; that value was written only once."
    certificate = tuple(entry for entry in (_as_write(writer), one, other) if entry is not None)
    return Decision(
        False, "double cas", f"{one.text} and {other.text} both won from the same value.", (reason,), certificate
    )


def _chains(writers, readers, replaced_by) -> tuple[list[list[Link]], Decision | None]:
    """The chains; a violation if there are values that are on none."""
    chains, placed = [], set()
    for value, writer in writers.items():
        if writer is None or writer.kind is WRITE:
            chain = [Link(value, writer, readers.get(value, ()))]
            while replaced_by.get(value):
                winner = replaced_by[value][0]
                value = winner.makes
                chain.append(Link(value, winner, readers.get(value, ())))
            placed.update(link.value for link in chain)
            chains.append(chain)
    for winners in replaced_by.values():
        for winner in winners:
            if winner.makes not in placed:
                return [], _circle(winner, writers)
    return chains, None


def _circle(winner: Entry, writers) -> Decision:
    around, value = [winner], winner.sees
    while value != winner.makes and value in writers and writers[value] is not None:
        around.append(writers[value])
        value = writers[value].sees
    texts = ", ".join(entry.text for entry in around)
    reason = "Each of them needs the value that another of them made, and nobody wrote the first."
    return Decision(False, "cas cycle", f"{texts} explain one another in a circle.", (reason,), tuple(around))


def _walk(chain: Sequence[Link]) -> tuple[Zone, Decision | None]:
    """One chain as a zone; a violation if its operations contradict the order that the chain fixes."""
    zone = Zone(chain, chain[0].writer)
    latest, latest_at = None, 0  # the latest call among what is strictly earlier in the chain
    for index, (_, writer, reads) in enumerate(chain):
        if writer is not None:
            if latest is not None and writer.ret < latest.call:
                return zone, _disorder(writer, latest, chain[latest_at : index + 1])
            zone.add(writer)
            if latest is None or writer.call > latest.call:
                latest, latest_at = writer, index
        for read in reads:
            if latest is not None and read.ret < latest.call:
                if latest is writer and writer.kind is WRITE:
                    return zone, read_before_written(read, writer)
                return zone, _disorder(read, latest, chain[latest_at : index + 1])
            zone.add(read)
        for read in reads:
            if latest is None or read.call > latest.call:
                latest, latest_at = read, index
    return zone, None


def _disorder(early: Entry, late: Entry, links: Sequence[Link]) -> Decision:
    opening, *following = [link.writer for link in links]
    involved = [late, _as_write(opening), *following, early]
    different = {id(entry.operation): entry for entry in involved if entry is not None}
    name, why = "order", "The cas operations between them fix the order of the values."
    if len(different) == 2:
        name, why = "read before written", f"It saw the value that {late.text} made."
    return Decision(
        False,
        name,
        f"{early.text} was over before {late.text} began, but has to come after it.",
        (f"{edge(early, late)}.", why),
        tuple(sorted(different.values(), key=lambda entry: entry.call)),
    )


def _as_write(writer: Entry | None) -> Entry | None:
    """A cas that opens a certificate counts as a write: what it saw lies outside."""
    return writer if writer is None or writer.kind is WRITE else writer._replace(kind=WRITE, sees=None)


def _windowed(zone: Zone) -> Zone:
    """The zone cut to the links between its two extreme entries, so that its certificate is small."""
    chain = zone.label
    place = {link.value: index for index, link in enumerate(chain)}
    ends = [place[entry.sees if entry.kind is READ else entry.makes] for entry in (zone.first, zone.last) if entry]
    start = min(ends) if zone.first is not None else 0
    window = chain[start : max(ends) + 1]
    zone.writer = _as_write(window[0].writer)
    zone.between = tuple(link.writer for link in window[1:])
    if zone.first is not None and zone.first.operation is zone.writer.operation:
        zone.first = zone.writer
    if zone.last is not None and zone.writer is not None and zone.last.operation is zone.writer.operation:
        zone.last = zone.writer
    return zone


def _order(zones: Sequence[Zone]) -> list[Entry]:
    place = places(zones)
    order = []
    for zone in sorted(zones, key=lambda zone: place[id(zone)]):
        for _, writer, reads in zone.label:
            order += [writer] if writer is not None else []
            order += sorted(reads, key=lambda read: read.call)
    return order


def _insert(order: list[Entry], failed: list[Entry], initial: Hashable) -> list[Entry] | None:
    """The order with the failed cas operations put in, each as early as it may be; None if one finds no place.

    Args:
        order: a legal order of all the others.
        failed: NOTs, by call.
    """
    states = [initial]
    for entry in order:
        states.append(states[-1] if entry.kind is READ else entry.makes)
    run_end = list(range(len(states)))  # the last position in a row that has the same state
    for position in range(len(states) - 2, -1, -1):
        if states[position] == states[position + 1]:
            run_end[position] = run_end[position + 1]
    by_ret = sorted(range(len(order)), key=lambda index: order[index].ret)
    by_call = sorted(range(len(order)), key=lambda index: order[index].call)
    calls = [order[index].call for index in by_call]
    first_of_later = [*list(accumulate(reversed(by_call), min))[::-1], len(order)]
    earlier_failed = sorted(failed, key=lambda entry: entry.ret)
    position_of: dict[int, int] = {}
    lowest = answered = overtaken = 0
    for entry in failed:
        while answered < len(by_ret) and order[by_ret[answered]].ret < entry.call:
            lowest = max(lowest, by_ret[answered] + 1)
            answered += 1
        while earlier_failed[overtaken].ret < entry.call:
            lowest = max(lowest, position_of[id(earlier_failed[overtaken])])
            overtaken += 1
        position = lowest
        if states[position] == entry.sees:
            position = run_end[position] + 1
        if position > min(first_of_later[bisect_right(calls, entry.ret)], len(order)):
            return None
        position_of[id(entry)] = position
    merged, following = [], iter(sorted(failed, key=lambda entry: position_of[id(entry)]))
    coming = next(following, None)
    for position in range(len(order) + 1):
        while coming is not None and position_of[id(coming)] == position:
            merged.append(coming)
            coming = next(following, None)
        merged += order[position : position + 1]
    return merged
