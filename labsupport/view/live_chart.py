"""A chart of what stands in a broker, drawn while it changes: queue depth, unacknowledged, redelivered, lag.

It is shown by its display id, not as a widget: the picture that was drawn last stays in the notebook and in its
exports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from labsupport.errors import LabError
from labsupport.view.cards import Card, Table

LOOK_S = 0.1
MOST_LOOKS = 400  # kept; of older ones every second is forgotten
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 190, 44, 150, 20, 22
# Colours of Okabe and Ito; each line also has its own dashes, and its name at its end.
STYLES = (("#0072B2", ""), ("#D55E00", "7 4"), ("#008060", "2 3"), ("#B0568F", "10 3 2 3"), ("currentColor", "1 4"))


class LiveChart(Card):
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
        self.title = " · ".join(filter(None, [broker.title, what, group]))
        self.looks: list[tuple[float, dict[str, int]]] = []
        self.marks: list[tuple[float, str]] = []
        self._look: Callable[[], dict[str, int]] = broker.gauge(what, group)
        self._began, self._every, self._shown = time.monotonic(), 1, None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(broker,), daemon=True)
        self._thread.start()

    # ---- watching

    def mark(self, what: str) -> None:
        """Draw a line with a word at this moment."""
        self.marks.append((time.monotonic() - self._began, what))

    def close(self) -> None:
        """Look no more; the chart stays as it is."""
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> LiveChart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self, broker: Any) -> None:
        ended, number = False, 0
        while not ended:
            ended = self._ended.wait(LOOK_S)
            try:
                seen = self._look()
            except LabError:
                ended = ended or _is_gone(broker)
            except Exception:  # a gauge raises what its broker's protocol raises; a look that fails is left out
                pass
            else:
                number += 1
                if ended or number % self._every == 0:
                    self._keep((time.monotonic() - self._began, seen))
            self._draw(ended)

    def _keep(self, look: tuple[float, dict[str, int]]) -> None:
        self.looks.append(look)
        if len(self.looks) > MOST_LOOKS:
            self.looks, self._every = self.looks[::2], 2 * self._every

    def _draw(self, ended: bool) -> None:
        if self._shown is not None:
            self._shown.update(self._bundle(ended), raw=True)

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

    def html(self) -> str:
        return f"{self.svg()}<details><summary>The same as a table</summary>{self.table().html()}</details>"

    def text(self) -> str:
        return "\n".join([self.summary, *(f"  {at:.1f} s  {what}" for at, what in self.marks)])

    def svg(self) -> str:
        """The lines so far."""
        looks, names = self.looks, self.names
        span = max([1.0, *(at for at, _ in looks[-1:]), *(at for at, _ in self.marks)])
        top = max([1, *(value for _, seen in looks for value in seen.values())])
        scale_x, scale_y = (WIDTH - LEFT - RIGHT) / span, (HEIGHT - TOP - BOTTOM) / top
        parts = [_frame(span, top)]
        for number, (at, what) in enumerate(self.marks):
            x = LEFT + at * scale_x
            parts.append(
                f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="currentColor" stroke-dasharray="3 3"/>'
                f'<text x="{x + 3:.1f}" y="{TOP + 10 + 12 * (number % 4)}" fill="currentColor">{escape(what)}</text>'
            )
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
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
            f'aria-label="{escape(self.summary)}" font-family="system-ui,sans-serif" font-size="11" fill="none" '
            f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
        )

    def _bundle(self, ended: bool) -> dict[str, str]:
        # A table that opens would be closed ten times a second: it comes when the chart has ended.
        return {"text/html": self.page() if ended else self.svg(), "text/plain": self.text()}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self._shown = display(self._bundle(self._ended.is_set()), raw=True, display_id=True)


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


def _is_gone(broker: Any) -> bool:
    try:
        return not broker.nodes
    except LabError:
        return True
