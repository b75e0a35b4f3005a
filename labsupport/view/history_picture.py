"""What clients asked and were told, as intervals of time; with the operations that prove an anomaly, or an order.

A row for each client, a box for each operation from its call to its return. Time is shown as ranks: only the order of
calls and returns counts. What was never answered stays open to the right. A box that belongs to the proof has a thick
frame and its number in it; a diamond is a moment at which the operation can have taken effect.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from labsupport.checkers.drawing import draw
from labsupport.checkers.finding import Anomaly, Finding
from labsupport.history import Ending, Operation

MOST = 60  # operations; nobody can read more
TOP, ROW, TALL, LETTER, RANK = 14, 44, 28, 6.6, 14  # pixels: above, between rows, of a box, of a letter, of a rank
BLUE, ORANGE = "#0072B2", "#D55E00"


class HistoryPicture:
    """A history, and what a checker found in it, to be the last value of a cell.

    Args:
        history: the operations; those of the finding's proof when it is not given.
        finding: what a checker has said of them; its first anomaly is marked, or the order of its witness.

    >>> HistoryPicture(history, linearizable(history, witness=True))  # doctest: +SKIP
    """

    def __init__(self, history: Iterable[Operation] = (), finding: Finding | None = None) -> None:
        if isinstance(history, Finding):
            history, finding = (), history
        self.finding = finding
        self.anomaly: Anomaly | None = next(iter(finding.anomalies), None) if finding is not None else None
        self.marked = list(self.anomaly.operations) if self.anomaly else []
        self.order = list(finding.witness) if finding is not None and not self.anomaly else []
        everything = sorted(history or self.marked or self.order, key=lambda operation: operation.called)
        self.shown = _around(everything, self.marked)
        self.left_out = len(everything) - len(self.shown)

    @property
    def summary(self) -> str:
        """The picture in one sentence."""
        clients = len({operation.client for operation in self.shown})
        what = f"{len(self.shown)} operations of {clients} clients."
        if self.anomaly:
            return f"{what} Marked: {', '.join(operation.text for operation in self.marked)}. {self.anomaly.summary}"
        return f"{what} {self.finding.summary if self.finding is not None else ''}".strip()

    def html(self) -> str:
        said = []
        if self.anomaly:
            reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.anomaly.reasons)
            said.append(f"<p><b>{escape(self.anomaly.name)}:</b> {escape(self.anomaly.summary)}</p><ul>{reasons}</ul>")
        elif self.finding is not None:
            said.append(f"<p><b>{escape(self.finding.result.value)}:</b> {escape(self.finding.summary)}</p>")
        if self.left_out:
            said.append(f"<p>{self.left_out:,} other operations are not shown.</p>")
        picture = _Drawing(self).svg() if self.shown else ""
        return (
            f'<figure class="lab-st"><style>{_css()}</style><div class="lab-st-view" tabindex="0">{picture}</div>'
            f'{"".join(said)}<details><summary>The same as text</summary><pre tabindex="0">{escape(self.text)}</pre>'
            "</details></figure>"
        )

    @property
    def text(self) -> str:
        if self.finding is None:
            return draw(self.shown)
        return str(self.finding) if self.anomaly else f"{self.finding}\n{draw(self.shown)}".strip()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


def _around(operations: Sequence[Operation], marked: Sequence[Operation]) -> list[Operation]:
    """All operations, or of many those around the marked ones, and always these."""
    if len(operations) <= MOST:
        return list(operations)
    places = [place for place, operation in enumerate(operations) if operation in marked] or [0]
    near = sorted(range(len(operations)), key=lambda place: min(abs(place - other) for other in places))
    return [operations[place] for place in sorted(near[: max(MOST, len(places))])]


class _Drawing:
    """One picture while it is drawn."""

    def __init__(self, picture: HistoryPicture) -> None:
        self.picture, self.operations = picture, picture.shown
        self.clients = sorted({str(operation.client) for operation in self.operations})
        self.left = 20 + LETTER * 1.15 * max(map(len, self.clients))
        ended = [(op.returned, 1) for op in self.operations if op.returned is not None]
        self.moments = sorted({*((op.called, 0) for op in self.operations), *ended})  # calls first at equal times
        self.rank = {moment: place for place, moment in enumerate(self.moments)}
        self.columns = self._columns()
        widest = max(self.columns[self.rank[op.called, 0]] + self._room(op) for op in self.operations)
        self.right = max(self.columns[-1] + 60, widest + 20)
        self.rows = self._rows()
        self.height = TOP + ROW * (max(self.rows) + 1)

    def _room(self, operation: Operation) -> float:
        """What a box needs for its text and its number."""
        return LETTER * len(operation.text) + (38 if operation in self.picture.marked else 16)

    def _columns(self) -> list[float]:
        """For each rank of time its place, so that every box has room for its text."""
        columns = [self.left + 4.0]
        ends = {self.rank[op.returned, 1]: op for op in self.operations if op.returned is not None}
        for place in range(1, len(self.moments)):
            at = columns[-1] + RANK
            if place in ends:
                at = max(at, columns[self.rank[ends[place].called, 0]] + self._room(ends[place]))
            columns.append(at)
        return columns

    def _rows(self) -> list[int]:
        """A row for each operation: its client's, or one more where an unanswered one is still open."""
        rows, first = [0] * len(self.operations), 0
        for client in self.clients:
            until: list[float] = []  # where each of this client's rows is free again
            for number, op in enumerate(self.operations):
                if str(op.client) != client:
                    continue
                begin = self.columns[self.rank[op.called, 0]]
                row = next((row for row, free in enumerate(until) if free <= begin), len(until))
                until[row : row + 1] = [self._end(op)]
                rows[number] = first + row
            first += len(until)
        return rows

    def _end(self, op: Operation) -> float:
        """Where a box ends: one without an answer as soon as its text does, because it may last for ever."""
        if op.returned is None:
            return self.columns[self.rank[op.called, 0]] + self._room(op) + 10
        return self.columns[self.rank[op.returned, 1]]

    def svg(self) -> str:
        summary = escape(self.picture.summary)
        size = f'viewBox="0 0 {self.right:.0f} {self.height}" width="{self.right:.0f}" height="{self.height}"'
        return (
            f'<svg {size} role="img" aria-label="{summary}" font-family="system-ui,sans-serif" font-size="11" '
            'fill="none">'
            f"<title>What clients asked and were told</title><desc>{summary}</desc>"
            f"{''.join([*self._names(), *self._boxes(), *self._points()])}</svg>"
        )

    def _y(self, row: int) -> float:
        return TOP + ROW * row + TALL / 2

    def _names(self) -> Iterator[str]:
        for client in self.clients:
            rows = [row for row, op in zip(self.rows, self.operations, strict=True) if str(op.client) == client]
            y = self._y(min(rows))
            yield f'<text x="8" y="{y + 4:g}" fill="currentColor" font-weight="600">{escape(client)}</text>'
            for row in sorted(set(rows)):
                line = f"M{self.left:g} {self._y(row) + TALL / 2:g}H{self.right - 6:g}"  # the boxes stand on it
                yield f'<path d="{line}" stroke="currentColor" stroke-opacity=".3"/>'

    def _boxes(self) -> Iterator[str]:
        marked = self.picture.marked
        for row, op in zip(self.rows, self.operations, strict=True):
            begin, end, y = self.columns[self.rank[op.called, 0]], self._end(op), self._y(row) - TALL / 2
            proof = op in marked
            colour, wide = (ORANGE, 3) if proof else (BLUE, 1.5)
            dashes = {Ending.OK: "", Ending.UNKNOWN: "7 4", Ending.FAILED: "2 3"}[op.ending]
            shape = f"M{end:g} {y:g}H{begin:g}v{TALL}H{end:g}" + ("" if op.returned is None else "z")
            number = f"{marked.index(op) + 1}." if proof else ""
            yield (
                f"<g><title>{escape(repr(op))}</title>"
                f'<path d="{shape}" stroke="{colour}" stroke-width="{wide}" stroke-dasharray="{dashes}"/>'
                f'<text x="{begin + 7:g}" y="{y + 18:g}" fill="currentColor"><tspan font-weight="700">{number}</tspan> '
                f"{escape(op.text)}{' ...' if op.returned is None else ''}</text></g>"
            )

    def _points(self) -> Iterator[str]:
        """Moments that agree with the witness, each as early as those before it allow."""
        reached: dict[
            Any, tuple[int, int]
        ] = {}  # for each part of the object the last rank, and how many points it has
        for number, op in enumerate(self.picture.order, 1):
            if op not in self.operations:
                continue
            row, before = self.rows[self.operations.index(op)], reached.get(op.key, (0, 0))
            rank = max(before[0], self.rank[op.called, 0])
            count = before[1] + 1 if rank == before[0] else 1
            reached[op.key] = rank, count
            at = self.columns[rank] + (RANK - 1) * count / (count + 1)  # however many: before the next rank begins
            y = self._y(row) + TALL / 2
            yield (
                f"<g><title>{number}. takes effect here: {escape(op.text)}</title>"
                f'<path d="M{at:g} {y - 6:g}l6 6l-6 6l-6-6z" fill="{BLUE}" stroke="currentColor"/>'
                f'<text x="{at + 8:g}" y="{y + 12:g}" fill="currentColor">{number}</text></g>'
            )


@functools.cache
def _css() -> str:
    return Path(__file__).with_name("spacetime.css").read_text("utf-8")
