"""Who of a group of Kafka's consumers reads which partition, drawn while it changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NamedTuple

from labsupport.view.cards import Table
from labsupport.view.live_picture import MARK_ROWS, WIDTH, LivePicture
from labsupport.view.looks import LOOKS, Look, legend, mark

MOST_CHANGES = 200  # kept; older ones are forgotten
LEFT, RIGHT, BOTTOM = 80, 76, 22
BAND, LANE = 24, 32  # the height of a band, and of the lane around it
LETTER, MARK = 6.4, 18  # the width of a letter, and of a mark, in pixels
THINNEST = 2  # pixels: what was short is seen all the same


class Change(NamedTuple):
    """From this moment on this was seen: whether the group rebalanced, and who had which partition."""

    at_s: float
    rebalancing: bool
    readers: dict[int, str]


class Assignment(LivePicture):
    """A lane for each partition of a topic, with a band for each consumer that had it, and the group's lag at its end.

    Who has a partition is what the broker knows: a consumer that was killed keeps its own until its session times out.
    Dots are a time in which nobody has it, such as a rebalance in which all give up all they have: with a cooperative
    strategy they go on reading what they keep.

    Args:
        kafka: the `Kafka` to look at.
        topic: the topic whose partitions are shared out.
        group: the consumers' group.

    >>> with Assignment(kafka, "orders", group="billing") as picture:  # doctest: +SKIP
    ...     display(picture)
    ...     picture.mark("the second consumer joins")
    """

    def __init__(self, kafka: Any, topic: str, group: str) -> None:
        self.changes: list[Change] = []
        self.lags: dict[int, int] = {}
        self.after_s = 0.0
        super().__init__(kafka, f"{kafka.title} · {topic} · {group}", kafka.assignment(topic, group))

    def _keep(self, at_s: float, seen: Any, last: bool) -> None:
        self.after_s, self.lags = at_s, seen.lags
        change = Change(at_s, seen.rebalancing, seen.readers)
        if not self.changes or self.changes[-1][1:] != change[1:]:
            self.changes = [*self.changes, change][-MOST_CHANGES:]

    # ---- the ways it shows itself

    @property
    def looks(self) -> dict[str, Look]:
        """How each consumer is drawn, in the order in which they appeared."""
        names = dict.fromkeys(name for change in self.changes for name in change.readers.values() if name)
        return dict(zip(names, LOOKS * len(names), strict=False))

    @property
    def summary(self) -> str:
        """The picture in one sentence."""
        if not self.changes:
            return f"{self.title}: nothing seen yet"
        now = self.changes[-1]
        lanes = [f"partition {number}: {_reader(now, number)}, lag {lag:,}" for number, lag in self.lags.items()]
        state = "; the group rebalances" if now.rebalancing else ""
        return f"{self.title} after {self.after_s:.1f} s: {'; '.join(lanes)}{state}"

    def table(self) -> Table:
        """The changes, with what was marked."""
        rows = [
            (change.at_s, *(_reader(change, number) for number in self.lags), "rebalance" if change.rebalancing else "")
            for change in self.changes
        ]
        rows += [(at_s, *("" for _ in self.lags), what) for at_s, what in self.marks]
        header = ("time", *(f"partition {number}" for number in self.lags), "")
        return Table(self.summary, header, [(f"{at_s:.1f} s", *cells) for at_s, *cells in sorted(rows)])

    def text(self) -> str:
        return self.table().text()

    def still(self) -> str:
        top = 8 + 12 * min(MARK_ROWS, len(self.marks))
        low = top + LANE * len(self.lags)
        span = max([1.0, self.after_s, *(at_s for at_s, _ in self.marks)])
        scale_x = (WIDTH - LEFT - RIGHT) / span
        parts = [_axis(span, low), *self._marked(scale_x, LEFT, 0, low)]
        for begin, end, rebalancing in self._runs(lambda change: change.rebalancing):
            if rebalancing:
                parts.append(_shade(LEFT + begin * scale_x, (end - begin) * scale_x, top, low))
        for place, (number, lag) in enumerate(self.lags.items()):
            middle = top + LANE * (place + 0.5)
            parts.append(
                f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end" fill="currentColor">partition {number}</text>'
                f'<text x="{WIDTH - RIGHT + 8}" y="{middle + 4}" fill="currentColor">lag {lag:,}</text>'
            )
            for begin, end, name in self._runs(lambda change, number=number: change.readers.get(number, "")):
                parts.append(self._band(LEFT + begin * scale_x, (end - begin) * scale_x, middle, name))
        return self._drawing(parts, low + BOTTOM) + legend(self.looks, "··· nobody", "▒ the group rebalances")

    def _runs(self, of: Callable[[Change], Any]) -> Iterator[tuple[float, float, Any]]:
        """Begin, end and value of each time in which a value stays the same."""
        runs = [(next(changes).at_s, value) for value, changes in itertools.groupby(self.changes, of)]
        ends = [begin for begin, _ in runs[1:]] + [self.after_s]
        return ((begin, end, value) for (begin, value), end in zip(runs, ends, strict=False))

    def _band(self, x: float, width: float, middle: float, name: str) -> str:
        if not name:
            return f'<path d="M{x:.1f} {middle}h{width:.1f}" stroke="currentColor" stroke-dasharray="2 4"/>'
        colour, path = self.looks[name]
        room = width - MARK
        shown = name if len(name) * LETTER + 8 <= room else ""
        return (
            f"<g><title>{escape(name)}</title>"
            f'<rect x="{x:.1f}" y="{middle - BAND / 2}" width="{max(width, THINNEST):.1f}" height="{BAND}" rx="3" '
            f'fill="{colour}" fill-opacity=".22" stroke="{colour}"/>'
            f"{mark(x + MARK / 2 + 2, middle, colour, path) if room >= 0 else ''}"
            f'<text x="{x + MARK + 4:.1f}" y="{middle + 4}" fill="currentColor">{escape(shown)}</text></g>'
        )


def _reader(change: Change, number: int) -> str:
    return change.readers.get(number) or "nobody"


def _shade(x: float, width: float, top: float, low: float) -> str:
    return (
        f'<rect x="{x:.1f}" y="{top}" width="{max(width, THINNEST):.1f}" height="{low - top}" fill="currentColor" '
        f'fill-opacity=".15"><title>the group rebalances</title></rect>'
    )


def _axis(span: float, low: float) -> str:
    right = WIDTH - RIGHT
    return (
        f'<path d="M{LEFT} {low}H{right}" stroke="currentColor" stroke-opacity=".6"/>'
        f'<text x="{LEFT}" y="{low + 16}" fill="currentColor">0 s</text>'
        f'<text x="{right}" y="{low + 16}" text-anchor="end" fill="currentColor">{span:.1f} s</text>'
    )
