"""What transactions that read and write registers tell about one another.

A register shows its latest value only. The order of versions is known where a transaction read one version and wrote
the next, and every version comes after the initial None. Steps are ["w", key, value], with values unique for their key,
and ["r", key, value].

Source: K. Kingsbury and P. Alvaro, *Elle*, VLDB 2020, section 5 (writes follow reads).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from labsupport.checkers.dependencies import RW, WR, WW, Dependencies, components
from labsupport.checkers.finding import Anomaly
from labsupport.checkers.list_append import READS, Inferred, Write, writes_of
from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation

INITIAL = None


def infer(transactions: Sequence[Operation]) -> Inferred:
    """The anomalies of single reads, and the graph of dependencies."""
    writers = writes_of(transactions)
    anomalies = list(_single_reads(transactions, writers))
    external = list(_external(transactions))
    readers: dict[tuple[Hashable, Hashable], list[int]] = {}
    following: dict[tuple[Hashable, Hashable], list[Write]] = {}
    for number, reads, writes in external:
        for key, value in reads.items():
            readers.setdefault((key, value), []).append(number)
            if key in writes:
                following.setdefault((key, value), []).append(writers[key][writes[key]])
    graph = Dependencies(len(transactions))
    for (key, value), numbers in readers.items():
        write = writers.get(key, {}).get(value)
        if write is not None and transactions[write.number].ending is not Ending.FAILED:
            for number in numbers:
                graph.add(write.number, number, WR, f"its {write.value!r} was read by that one in {key}")
    for (key, value), writes in following.items():
        before = writers.get(key, {}).get(value)
        for write in writes:
            if before is not None:
                graph.add(before.number, write.number, WW, f"{key} went from its {before.value!r} to {write.value!r}")
    for (key, value), numbers in readers.items():
        later = following.get((key, value), [])
        if value is INITIAL:
            later = [write for write in writers.get(key, {}).values() if _committed(write, key, transactions, readers)]
        for number in numbers:
            for write in later:
                why = f"it read {key} as {_shown(writers, key, value)!r}, before {write.value!r} was written"
                graph.add(number, write.number, RW, why)
    anomalies += _cyclic_versions(following, transactions)
    anomalies += _lost_updates(following, transactions)
    return Inferred(anomalies, graph)


def _committed(write: Write, key: Hashable, transactions: Sequence[Operation], readers) -> bool:
    ending = transactions[write.number].ending
    return ending is Ending.OK or (ending is Ending.UNKNOWN and (key, canonical(write.value)) in readers)


def _shown(writers, key: Hashable, value: Hashable):
    write = writers.get(key, {}).get(value)
    return value if write is None else write.value


def _external(transactions: Sequence[Operation]) -> Iterator[tuple[int, dict, dict]]:
    """For each committed transaction what it read from outside, and the last that it wrote, by key."""
    for number, operation in enumerate(transactions):
        if operation.ending is not Ending.OK:
            continue
        reads, writes = {}, {}
        for what, key, value in operation.result:
            key = canonical(key)
            if what not in READS:
                writes[key] = canonical(value)
            elif key not in reads and key not in writes:
                reads[key] = canonical(value)
        yield number, reads, writes


def _single_reads(transactions: Sequence[Operation], writers) -> Iterator[Anomaly]:
    for number, operation in enumerate(transactions):
        if operation.ending is not Ending.OK:
            continue
        current: dict[Hashable, Hashable] = {}
        for what, name, value in operation.result:
            key, value = canonical(name), canonical(value)
            if what in READS:
                if key in current and current[key] != value:
                    summary = f"{operation.text} does not see in {name} what it read or wrote itself before."
                    yield Anomaly("internal", summary, (), (operation,), name)
                elif value is not INITIAL:
                    yield from _one_read(number, operation, name, value, writers.get(key, {}), transactions)
            current[key] = value


def _one_read(number, operation, key, value, writers: dict[Hashable, Write], transactions) -> Iterator[Anomaly]:
    write = writers.get(value)
    if write is None:
        yield Anomaly("never written", f"{operation.text} read {value!r}, which nobody wrote.", (), (operation,), key)
    elif transactions[write.number].ending is Ending.FAILED:
        summary = f"{operation.text} read {write.value!r} of a transaction that was aborted."
        yield Anomaly("G1a", summary, (), (transactions[write.number], operation), key)
    elif not write.last and write.number != number:
        summary = f"{operation.text} read {write.value!r}, which its transaction went on to change."
        yield Anomaly("G1b", summary, (), (transactions[write.number], operation), key)


def _cyclic_versions(following, transactions: Sequence[Operation]) -> Iterator[Anomaly]:
    """Values of one key of which each was made from another, in a circle."""
    places: dict[tuple[Hashable, Hashable], int] = {}
    for key, value in following:
        places.setdefault((key, value), len(places))
    after: list[list[int]] = [[] for _ in places]
    for (key, value), writes in following.items():
        for write in writes:
            other = places.get((key, canonical(write.value)))
            if other is not None:
                after[places[key, value]].append(other)
    at = list(places)
    for component in components(len(places), after.__getitem__):
        key = at[component[0]][0]
        values = ", ".join(repr(at[place][1]) for place in component)
        makers = {write.number for place in component for write in following[at[place]]}
        summary = f"the values {values} of {key} were each made from another of them."
        yield Anomaly("cyclic versions", summary, (), tuple(transactions[number] for number in sorted(makers)), key)


def _lost_updates(following, transactions: Sequence[Operation]) -> Iterator[Anomaly]:
    for (key, value), writes in following.items():
        numbers = sorted({write.number for write in writes})
        if len(numbers) > 1:
            both = tuple(transactions[number] for number in numbers[:2])
            summary = f"{both[0].text} and {both[1].text} both read {key} as {value!r} and replaced it."
            yield Anomaly("lost update", summary, (), both, key)
