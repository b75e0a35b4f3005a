"""What transactions that append to lists and read them whole tell about one another.

A read of a list shows the order of all writes before it, so nearly every dependency can be inferred. Steps are
["append", key, value], with values unique for their key, and ["r", key, the list].

Source: K. Kingsbury and P. Alvaro, *Elle*, VLDB 2020, sections 4 and 5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise

from labsupport.checkers.dependencies import RW, WR, WW, Dependencies
from labsupport.checkers.finding import Anomaly
from labsupport.checkers.values import canonical
from labsupport.errors import LearnerError
from labsupport.history import Ending, Operation

READS = frozenset({"r", "read"})


@dataclasses.dataclass
class Inferred:
    """The anomalies that need no cycle, and the dependencies to look for cycles in."""

    anomalies: list[Anomaly]
    graph: Dependencies


@dataclasses.dataclass
class Write:
    """One write: by which transaction, and whether it was that transaction's last of the key."""

    number: int
    value: object
    last: bool


def writes_of(transactions: Sequence[Operation]) -> dict[Hashable, dict[Hashable, Write]]:
    """For each key and value who wrote it; of transactions that failed too.

    Raises:
        LearnerError: a value was written twice to one key, which leaves who wrote it open.
    """
    writers: dict[Hashable, dict[Hashable, Write]] = {}
    for number, operation in enumerate(transactions):
        last: dict[Hashable, Write] = {}
        for what, key, value in operation.value:
            if what in READS:
                continue
            of_key = writers.setdefault(canonical(key), {})
            if canonical(value) in of_key:
                raise LearnerError(
                    f"The value {value!r} was written to the key {key!r} twice.",
                    cause="the workload does not number its writes",
                    do="write every value once for each key",
                )
            of_key[canonical(value)] = last[canonical(key)] = Write(number, value, False)
        for write in last.values():
            write.last = True
    return writers


def infer(transactions: Sequence[Operation]) -> Inferred:
    """The anomalies of single reads, and the graph of dependencies."""
    writers = writes_of(transactions)
    anomalies = list(_single_reads(transactions, writers))
    longest: dict[Hashable, tuple[list, int]] = {}
    reads = list(_external_reads(transactions))
    every_read = list(_reads(transactions))
    for number, key, elements in every_read:
        if len(elements) > len(longest.get(key, ([], 0))[0]):
            longest[key] = (elements, number)
    for number, key, elements in every_read:
        order, other = longest.get(key, ([], number))
        if elements != order[: len(elements)]:
            anomalies.append(_incompatible(key, transactions[number], transactions[other]))
            break
    graph = Dependencies(len(transactions))
    # Aborted writes are anomalies by themselves; the graph is one of committed transactions.
    committed = {
        key: {value: write for value, write in of_key.items() if transactions[write.number].ending is not Ending.FAILED}
        for key, of_key in writers.items()
    }
    orders = {key: elements for key, (elements, _) in longest.items()}
    for key, order in orders.items():
        known = [committed[key][element] for element in order if element in committed.get(key, {})]
        for before, after in pairwise(known):
            why = f"its {before.value!r} comes before {after.value!r} in {key}"
            graph.add(before.number, after.number, WW, why)
    for number, key, elements in reads:
        _read_edges(graph, number, key, elements, orders.get(key, []), committed.get(key, {}), transactions)
    return Inferred(anomalies, graph)


def _read_edges(graph, number, key, elements, order, writers: dict[Hashable, Write], transactions) -> None:
    if elements and elements[-1] in writers:
        write = writers[elements[-1]]
        graph.add(write.number, number, WR, f"its {write.value!r} was read by that one in {key}")
    if elements != order[: len(elements)]:
        return
    missed = [writers[element] for element in order[len(elements) :] if element in writers][:1]
    if not missed:
        # Nobody has seen these, but they were committed: they come after all that was seen.
        there = set(order)
        missed = [write for value, write in writers.items() if value not in there]
        missed = [write for write in missed if transactions[write.number].ending is Ending.OK]
    shown = [writers[element].value if element in writers else element for element in elements]
    for write in missed:
        graph.add(number, write.number, RW, f"it read {key} as {shown!r}, without {write.value!r}")


def _reads(transactions: Sequence[Operation]) -> Iterator[tuple[int, Hashable, list]]:
    """All reads of committed transactions."""
    for number, operation in enumerate(transactions):
        if operation.ending is Ending.OK:
            for what, key, value in operation.result:
                if what in READS:
                    yield number, canonical(key), [canonical(element) for element in value or ()]


def _external_reads(transactions: Sequence[Operation]) -> Iterator[tuple[int, Hashable, list]]:
    """The first read of each key in each committed transaction, if the transaction had not written the key before."""
    for number, operation in enumerate(transactions):
        if operation.ending is not Ending.OK:
            continue
        touched = set()
        for what, key, value in operation.result:
            key = canonical(key)
            if what in READS and key not in touched:
                yield number, key, [canonical(element) for element in value or ()]
            touched.add(key)


def _single_reads(transactions: Sequence[Operation], writers) -> Iterator[Anomaly]:
    """Anomalies that one read shows by itself."""
    for number, operation in enumerate(transactions):
        if operation.ending is not Ending.OK:
            continue
        seen: dict[Hashable, list] = {}  # what this transaction has to see, where it knows
        own: dict[Hashable, list] = {}
        for what, key, value in operation.result:
            name, key = key, canonical(key)
            if what not in READS:
                own.setdefault(key, []).append(canonical(value))
                if key in seen:
                    seen[key].append(canonical(value))
                continue
            elements = [canonical(element) for element in value or ()]
            yield from _one_read(number, operation, name, elements, writers.get(key, {}), transactions)
            mine = own.get(key, [])
            expected = seen.get(key)
            if (expected is not None and elements != expected) or elements[len(elements) - len(mine) :] != mine:
                summary = f"{operation.text} does not see in {name} what it read or wrote itself before."
                yield Anomaly("internal", summary, (), (operation,), name)
            seen[key] = list(elements)


def _one_read(number, operation, key, elements, writers: dict[Hashable, Write], transactions) -> Iterator[Anomaly]:
    if len(set(elements)) < len(elements):
        summary = f"{operation.text} read an element of {key} twice."
        yield Anomaly("duplicate elements", summary, (), (operation,), key)
    for element in elements:
        write = writers.get(element)
        if write is None:
            yield Anomaly(
                "never written", f"{operation.text} read {element!r}, which nobody wrote.", (), (operation,), key
            )
        elif transactions[write.number].ending is Ending.FAILED:
            summary = f"{operation.text} read {write.value!r} of a transaction that was aborted."
            yield Anomaly("G1a", summary, (), (transactions[write.number], operation), key)
    last = writers.get(elements[-1]) if elements else None
    if last is not None and not last.last and last.number != number:
        summary = f"{operation.text} read {last.value!r}, which its transaction went on to change."
        yield Anomaly("G1b", summary, (), (transactions[last.number], operation), key)


def _incompatible(key: Hashable, one: Operation, other: Operation) -> Anomaly:
    summary = f"{one.text} and {other.text} show {key} in orders that do not fit together."
    return Anomaly("incompatible order", summary, (), (one, other), key)
