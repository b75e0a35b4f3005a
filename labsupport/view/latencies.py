"""How long answers took: a histogram for each series over one axis, with the quantiles beside it in words."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

from labsupport.errors import LearnerError
from labsupport.view.cards import Card, Table

QUANTILES = {"half within": 0.5, "99 of 100 within": 0.99}
BINS = 40
GREY = "#767676"  # can be read on a white and on a black page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # of Okabe and Ito


class Latencies(Card):
    """Histograms of how long something took, to be the last value of a cell.

    Args:
        series: for each name, the measured times in milliseconds.

    >>> Latencies({"Redis": [0.1, 0.2, 0.1], "etcd": [1.1, 0.9, 5.2]})  # doctest: +SKIP
    """

    def __init__(self, series: Mapping[str, Sequence[float]]) -> None:
        if not series or not all(len(times) and min(times) >= 0 for times in series.values()):
            raise LearnerError("There are no times to draw.", do="give at least one time in ms, none below 0, per name")
        self.series = {name: sorted(times) for name, times in series.items()}

    def table(self) -> Table:
        """The quantiles."""
        rows = [
            (name, f"{len(times):,}", *(_ms(_quantile(times, part)) for part in QUANTILES.values()), _ms(times[-1]))
            for name, times in self.series.items()
        ]
        return Table("", ("", "answers", *QUANTILES, "slowest"), rows)

    @property
    def summary(self) -> str:
        """The chart in one sentence."""
        said = [f"{name}: half within {_ms(_quantile(times, 0.5))}" for name, times in self.series.items()]
        return f"Histogram of latencies; {', '.join(said)}."

    def text(self) -> str:
        return self.table().text()

    def html(self) -> str:
        picture = base64.b64encode(self._png()).decode()
        alt = escape(self.summary)
        return f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{picture}">{self.table().html()}'

    @property
    def _slowest(self) -> float:
        return max(times[-1] for times in self.series.values())

    @property
    def _straight(self) -> bool:
        """Whether the quick half of each series is long enough to be seen on an axis that is not logarithmic."""
        return self._slowest <= BINS * min(_quantile(times, 0.5) for times in self.series.values())

    def _png(self) -> bytes:
        """One row for each series over a common axis."""
        from matplotlib.figure import Figure

        high = max(self._slowest, 0.01)
        low = 0.0 if self._straight else max(min(times[0] for times in self.series.values()), 0.001)
        steps = [number / BINS for number in range(BINS + 1)]
        bins = [high * step if self._straight else low * (high / low) ** step for step in steps]
        figure = Figure(figsize=(7, 0.7 + 0.8 * len(self.series)), layout="constrained")
        rows = figure.subplots(len(self.series), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, times), number in zip(rows, self.series.items(), range(len(rows)), strict=True):
            axes.hist([max(time, low) for time in times], bins, color=COLOURS[number % len(COLOURS)])
            axes.set(xscale="linear" if self._straight else "log", ylabel=name)
            axes.yaxis.label.set(rotation=0, ha="right", va="center", color=GREY)
            axes.tick_params(colors=GREY, which="both")
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.spines["bottom"].set(visible=True, color=GREY)
        rows[-1].set_xlabel("milliseconds", color=GREY)
        rows[-1].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        written = io.BytesIO()
        figure.savefig(written, format="png", dpi=110, transparent=True)
        return written.getvalue()


def _quantile(times: Sequence[float], part: float) -> float:
    """The smallest time within which that part of all came."""
    return times[math.ceil(part * len(times)) - 1]


def _ms(time: float) -> str:
    return f"{time:.3g} ms" if time < 1000 else f"{time:,.0f} ms"
