"""A chart of what stands in a broker, drawn while it changes: queue depth, unacknowledged, redelivered, lag."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from labsupport.view.cards import Table
from labsupport.view.live_picture import WIDTH, LivePicture

MOST_LOOKS = 400  # kept; of older ones every second is forgotten
HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 190, 44, 150, 20, 22
# Colours of Okabe and Ito; each line also has its own dashes, and its name at its end.
STYLES = (("#0072B2", ""), ("#D55E00", "7 4"), ("#008060", "2 3"), ("#B0568F", "10 3 2 3"), ("currentColor", "1 4"))


class LiveChart(LivePicture):
    """Looks at a broker ten times a second until it is closed, or the broker stops.

    Args:
        broker: `RabbitMQ`, `Nats` or `Kafka`.
        what: the queue, stream or topic.
        group: of Kafka's consumers.

    >>> with LiveChart(broker, "jobs") as chart:  # doctest: +SKIP
    ...     display(chart)
    ...     chart.mark("a worker is killed")
    """

    def __init__(self, broker: Any, what: str, group: str = "") -> None:
        self.looks: list[tuple[float, dict[str, int]]] = []
        self._number, self._every = 0, 1
        title = " · ".join(filter(None, [broker.title, what, group]))
        super().__init__(broker, title, broker.gauge(what, group))

    def _keep(self, at_s: float, seen: dict[str, int], last: bool) -> None:
        self._number += 1
        if last or self._number % self._every == 0:
            self.looks.append((at_s, seen))
        if len(self.looks) > MOST_LOOKS:
            self.looks, self._every = self.looks[::2], 2 * self._every

    # ---- the ways it shows itself

    @property
    def names(self) -> list[str]:
        """The lines, in the order in which they appeared."""
        return list(dict.fromkeys(name for _, seen in self.looks for name in seen))

    @property
    def summary(self) -> str:
        """The chart in one sentence."""
        if not self.looks:
            return f"{self.title}: nothing seen yet"
        (at_s, last), looks = self.looks[-1], self.looks
        most = {name: max(seen.get(name, 0) for _, seen in looks) for name in self.names}
        lines = [f"{last.get(name, 0):,} {name} (at most {most[name]:,})" for name in self.names]
        return f"{self.title} after {at_s:.1f} s: {', '.join(lines)}"

    def table(self, most: int = 20) -> Table:
        """The numbers, with what was marked."""
        looks = self.looks[:: max(1, len(self.looks) // most)]
        rows = [(f"{at:.1f} s", *(str(seen.get(name, "")) for name in self.names), "") for at, seen in looks]
        rows += [(f"{at:.1f} s", *("" for _ in self.names), what) for at, what in self.marks]
        return Table(self.title, ("time", *self.names, ""), sorted(rows, key=lambda row: float(row[0].split()[0])))

    def text(self) -> str:
        return "\n".join([self.summary, *(f"  {at:.1f} s  {what}" for at, what in self.marks)])

    def still(self) -> str:
        looks, names = self.looks, self.names
        span = max([1.0, *(at for at, _ in looks[-1:]), *(at for at, _ in self.marks)])
        top = max([1, *(value for _, seen in looks for value in seen.values())])
        scale_x, scale_y = (WIDTH - LEFT - RIGHT) / span, (HEIGHT - TOP - BOTTOM) / top
        parts = [_frame(span, top), *self._marked(scale_x, LEFT, TOP, HEIGHT - BOTTOM)]
        ends = _ends([HEIGHT - BOTTOM - looks[-1][1].get(name, 0) * scale_y for name in names] if looks else [])
        for name, y, (colour, dashes) in zip(names, ends, STYLES * len(names), strict=False):
            points = [(LEFT + at * scale_x, HEIGHT - BOTTOM - seen.get(name, 0) * scale_y) for at, seen in looks]
            path = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in points[1:])
            parts.append(
                f'<path d="{path}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
                f'<path d="M{WIDTH - RIGHT + 4} {y:.1f}h22" stroke="{colour}" stroke-width="2" '
                f'stroke-dasharray="{dashes}"/><text x="{WIDTH - RIGHT + 30}" y="{y + 4:.1f}" fill="currentColor">'
                f"{looks[-1][1].get(name, 0):,} {escape(name)}</text>"
            )
        return self._drawing(parts, HEIGHT)


def _frame(span: float, top: int) -> str:
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    return (
        f'<path d="M{LEFT} {TOP}V{low}H{right}" stroke="currentColor" stroke-opacity=".6"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end" fill="currentColor">{top:,}</text>'
        f'<text x="{LEFT - 6}" y="{low + 4}" text-anchor="end" fill="currentColor">0</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 6}" fill="currentColor">0 s</text>'
        f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end" fill="currentColor">{span:.1f} s</text>'
    )


def _ends(heights: Sequence[float]) -> list[float]:
    """Where the names stand at the ends of the lines: beside them, one below the other where they would overlap."""
    places, free = [0.0] * len(heights), TOP
    for number in sorted(range(len(heights)), key=heights.__getitem__):
        places[number] = free = max(heights[number], free)
        free += 13
    return places
