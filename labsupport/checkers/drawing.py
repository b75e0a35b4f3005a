"""A few operations against time, drawn with text: a row per operation, so that it reads the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from labsupport.history import Ending, Operation

NARROWEST = 2  # the columns that a rank of time gets at least, so that touching boxes stay apart


def draw(operations: Iterable[Operation]) -> str:
    """The operations as boxes; time is shown as ranks, so that only the order of calls and returns counts.

    An operation that was never answered stays open to the right.

    >>> print(draw([
    ...     Operation("a", "write", value=1, called=0, returned=90),
    ...     Operation("b", "read", result=1, called=20, returned=30),
    ...     Operation("b", "write", value=2, called=95, ending=Ending.UNKNOWN),
    ... ]))
    a  |-----write(1)----|
    b     |read() -> 1|
    b                       |write(2) -> ?...
    """
    shown = sorted(operations, key=lambda operation: operation.called)
    if not shown:
        return ""
    # Calls come before returns at equal times: such operations are concurrent.
    moments = sorted(
        {(op.called, 0) for op in shown} | {(op.returned, 1) for op in shown if op.returned is not None},
    )
    rank = {moment: place for place, moment in enumerate(moments)}
    spans = [(rank[op.called, 0], None if op.returned is None else rank[op.returned, 1]) for op in shown]
    column = _columns(len(moments), [(start, end, len(op.text)) for (start, end), op in zip(spans, shown, strict=True)])
    width = max(len(str(op.client)) for op in shown)
    lines = []
    for op, (start, end) in zip(shown, spans, strict=True):
        before = f"{op.client!s:<{width}}  {' ' * column[start]}|"
        if op.ending is Ending.UNKNOWN:
            lines.append(f"{before}{op.text}...")
        else:
            lines.append(f"{before}{op.text.center(column[end] - column[start] - 1, '-')}|")
    return "\n".join(lines)


def _columns(count: int, boxes: list[tuple[int, int | None, int]]) -> list[int]:
    """For each rank of time its column, so that every box has room for its text."""
    column = [0] * count
    for place in range(1, count):
        column[place] = column[place - 1] + NARROWEST + 1
        for start, end, length in boxes:
            if end == place:
                column[place] = max(column[place], column[start] + length + 1)
    return column
