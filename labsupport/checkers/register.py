"""A register's history in the form that the fast algorithms work on: what each operation saw and what it made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from labsupport.checkers.values import PLAIN, canonical
from labsupport.history import Ending, Operation

NEVER = math.inf  # the return of an operation that was not answered: it may take effect at any time

READ, WRITE, CAS, NOT, MAYBE = "read", "write", "cas", "failed cas", "unanswered cas"


class Entry(NamedTuple):
    """One operation on one register.

    A READ saw `sees`; a WRITE made `makes`; a CAS saw `sees` and made `makes` at the same instant; a NOT, a cas that
    failed, saw anything but `sees`; a MAYBE, a cas without an answer, may be a CAS or may have had no effect.
    """

    call: float
    ret: float
    kind: str
    sees: Hashable
    makes: Hashable
    operation: Operation | None

    @property
    def text(self) -> str:
        return self.operation.text


@dataclasses.dataclass
class Decision:
    """What one algorithm says of one register; `ok` None: it cannot tell, another algorithm has to.

    Args:
        ok: whether the history is linearizable.
        name, summary, reasons: for a violation, in words.
        certificate: entries that are a violation by themselves.
        witness: for a linearizable history, its entries in a legal order (if the algorithm was asked and can tell).
        steps: steps of search spent.
    """

    ok: bool | None
    name: str = ""
    summary: str = ""
    reasons: tuple[str, ...] = ()
    certificate: tuple[Entry, ...] = ()
    witness: tuple[Entry, ...] = ()
    steps: int = 0


def entries(operations: Iterable[Operation]) -> list[Entry]:
    """Operations on one key, in the order of their calls, as entries.

    What certainly had no effect is dropped, and so are reads that nobody has the answer of. A "delete" makes None.
    """
    made = []
    for operation in operations:
        ending, kind, ret = operation.ending, operation.kind, operation.returned
        if ending is Ending.FAILED:
            continue
        if ret is None:
            ret = NEVER
        if kind == "read":
            if ending is Ending.OK:
                sees = operation.result
                sees = sees if type(sees) in PLAIN else canonical(sees)
                made.append(Entry(operation.called, ret, READ, sees, None, operation))
        elif kind == "cas":
            sees, makes = map(canonical, operation.value)
            if ending is Ending.UNKNOWN or operation.result is None:
                kind, ret = MAYBE, NEVER
            else:
                kind = CAS if operation.result else NOT
            made.append(Entry(operation.called, ret, kind, sees, makes, operation))
        else:
            makes = operation.value
            makes = makes if type(makes) in PLAIN else canonical(makes)
            made.append(Entry(operation.called, ret, WRITE, None, makes, operation))
    return made


def unanswered(entry: Entry) -> Entry:
    """The same entry as if its answer had not come: the weaker claim."""
    operation = dataclasses.replace(entry.operation, result=None, returned=None, ending=Ending.UNKNOWN)
    kind = MAYBE if entry.kind is CAS else entry.kind
    return entry._replace(ret=NEVER, kind=kind, operation=operation)


def cut(entries: Iterable[Entry], last: Entry) -> tuple[Entry, ...]:
    """The history up to the return of one entry; what returned later has no answer, and then reads say nothing."""
    kept = []
    for entry in entries:
        if entry.ret <= last.ret:
            kept.append(entry)
        elif entry.call <= last.ret and entry.kind not in (READ, NOT):
            kept.append(unanswered(entry))
    return tuple(kept)


def edge(before: Entry, after: Entry) -> str:
    """The real-time fact that puts one entry before another, in words."""
    return f"{before.text} returned ({before.ret}) before {after.text} was called ({after.call})"
