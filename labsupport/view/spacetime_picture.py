"""The space-time diagram of a run in a notebook or a page: a still picture that a script in it makes move.

It is HTML with the script in it, not a widget: the same bytes work in a live notebook, in an exported page without a
kernel and in an editor's own notebooks, and nothing has to be kept in the notebook's widget state. Where scripts are
not run the still picture is left, where pictures are not shown the text.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from labsupport.spacetime import drawn
from labsupport.trace import Trace
from labsupport.view import spacetime_svg
from labsupport.view.spacetime_facts import Facts, facts

MOST_EVENTS = 20_000  # in one picture; a page with many more is slow to load


class SpaceTime:
    """A run as a picture, to be the last value of a cell.

    Args:
        trace: the run, or what `Trace.as_json` has told of one.
        text: the same in words; drawn from the trace when it is not given.
    """

    def __init__(self, trace: Trace | Mapping[str, Any], text: str = "") -> None:
        told = trace.as_json(MOST_EVENTS) if isinstance(trace, Trace) else trace
        self.facts: Facts = facts(told)
        self.text = text or (drawn(trace) if isinstance(trace, Trace) else _lines(self.facts))

    @property
    def summary(self) -> str:
        """The picture in one sentence."""
        lost = sum(flight.fate == "lost" for flight in self.facts.flights)
        wrong = [event for event in self.facts.events if event.kind in ("violation", "error")]
        parts = [
            f"{len(self.facts.events):,} events on {', '.join(self.facts.lanes)}",
            f"{len(self.facts.flights):,} messages, {lost:,} lost",
            *(f"{event.node or 'the run'} {event.words}" for event in wrong[-1:]),
        ]
        return "; ".join(parts) + "."

    def html(self, live: bool = True) -> str:
        """The picture as a part of a page, with or without the script that makes it move."""
        shown = min(spacetime_svg.MOST_EVENTS, len(self.facts.events))
        missing = len(self.facts.events) - shown
        note = f'<p class="lab-st-left-out">The last {shown} of {shown + missing:,} events.</p>' if missing else ""
        if self.facts.left_out:
            note += f"<p>{self.facts.left_out:,} earlier events are left out.</p>"
        return (
            f'<figure class="lab-st"><style>{_file("spacetime.css")}</style>'
            f'<div class="lab-st-view" tabindex="0">{spacetime_svg.still(self.facts, self.summary)}</div>{note}'
            f'<ul class="lab-st-legend">{spacetime_svg.legend(self.facts)}</ul>'
            f'<details><summary>The same as text</summary><pre tabindex="0">{escape(self.text)}</pre></details>'
            f"{self._script() if live and self.facts.events else ''}</figure>"
        )

    def _script(self) -> str:
        return (
            f'<script type="application/json" class="lab-st-look">{_json(spacetime_svg.LOOK)}</script>'
            f'<script type="application/json" class="lab-st-data">{_json(self.facts.as_json())}</script>'
            f"<script>{_file('spacetime_player.js')}</script>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


def _lines(found: Facts) -> str:
    return "\n".join(map(str, found.events))


def _json(value: Any) -> str:
    """JSON in which nothing can end the script that it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


@functools.cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
