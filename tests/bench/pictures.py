"""A picture of a benchmark whose rows compare many things in a few measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

BLUE, ORANGE = "#0072B2", "#D55E00"
ROOM_FOR_WORDS = 10  # a factor on a logarithmic axis


def compare(rows: Sequence[dict], path: Path, measures: Sequence[str]) -> None:
    """Draw a panel for each measure and a line for each thing: ours is a dot, the baseline a ring.

    Args:
        rows: those whose case is "thing: measure" and that have a baseline; others are left out.
        path: where to, ending in .svg or .png.
        measures: the names of the panels.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    drawn = [row for row in rows if row["baseline_value"] and ": " in row["case"]]
    things = list(dict.fromkeys(_thing(row) for row in drawn))
    figure = Figure(figsize=(4 * len(measures), 1.4 + 0.34 * len(things)), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True)
    for panel, measure in zip(panels, measures, strict=True):
        here = [row for row in drawn if row["case"].endswith(f": {measure}")]
        lines = [things.index(_thing(row)) for row in here]
        panel.plot([row["baseline_value"] for row in here], lines, "o", mfc="none", mec=ORANGE, ms=11, mew=1.6)
        panel.plot([row["value"] for row in here], lines, "o", color=BLUE, ms=5)
        for row, line in zip(here, lines, strict=True):
            place = max(row["value"], row["baseline_value"]), line
            text = f"{row['value']:,.{0 if row['value'] >= 10 else 1}f} · {row['ratio']:.2f}×"
            panel.annotate(text, place, (9, 0), textcoords="offset points", va="center", fontsize=8)
        numbers = [row[key] for row in here for key in ("value", "baseline_value")] or [1]
        least, most = 10 ** math.floor(math.log10(min(numbers))), 10 ** math.ceil(math.log10(max(numbers)))
        panel.set(xscale="log", xlim=(least, most * ROOM_FOR_WORDS), ylim=(len(things) - 0.4, -0.6))
        panel.xaxis.set_major_formatter("{x:,.9g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"{measure} ({here[0]['unit']})" if here else measure, fontsize=10)
        panel.grid(axis="y", color="#dddddd", lw=0.7)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.tick_params(axis="x", labelsize=8)  # or the numbers of two decades touch
    panels[0].set_yticks(range(len(things)), things)
    title = f"● ours   ○ {drawn[0]['baseline']}   (the number: ours, and how often the other)"
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, metadata={"Title": title, "Description": "; ".join(map(_words, drawn))})


def _thing(row: dict) -> str:
    return row["case"].rpartition(": ")[0]


def _words(row: dict) -> str:
    """A row for those who cannot see the picture."""
    return f"{row['case']}: {row['value']} {row['unit']}, {row['baseline']}: {row['baseline_value']} {row['unit']}"
