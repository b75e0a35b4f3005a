"""A space-time diagram as a still SVG: it needs no script, no style sheet, no network, and can be printed.

Lanes go from left to right, and every event has a column of its own: what counts is the order, and thousands of events
can happen within one millisecond. Colours (Okabe and Ito) never stand alone: each fate of a message has its own line
and its own tip, each kind of event its own mark. Neutral lines have the colour of the text around, light or dark.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from html import escape
from typing import Any

from labsupport.view.spacetime_facts import Facts, Flight, Span

MOST_EVENTS = 60  # in a still picture; the last ones are drawn, the text and the live picture have more
STEP, GAP, TOP, BOTTOM = 34, 62, 44, 38  # pixels: between columns, between lanes, above and below the lanes
LETTER = 6.4  # pixels that a letter takes
BLUE, ORANGE, GREEN, PURPLE, NEUTRAL = "#0072B2", "#D55E00", "#008060", "#B0568F", "currentColor"

_DOT, _DIAMOND, _SQUARE = "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", "M0-6L6 0L0 6L-6 0z", "M-4-4H4V4H-4z"
_CROSS, _PLAY, _BARS = "M-7-7L7 7M-7 7L7-7", "M-5-6L6 0L-5 6z", "M-3-6V6M3-6V6"
_STAR = "M0-11L3-4L11-3L5 2L7 10L0 6L-7 10L-5 2L-11-3L-3-4z"

# How everything looks, also for the script. A mark is a path around (0, 0), its colour, and whether it is filled.
LOOK: dict[str, Any] = {
    "marks": {
        "send": [_DOT, BLUE, True],
        "deliver": [_DOT, BLUE, False],
        "timer": [_DIAMOND, GREEN, True],
        "timeout": [_DIAMOND, ORANGE, False],
        "wake": [_DIAMOND, GREEN, False],
        "save": [_SQUARE, PURPLE, True],
        "note": ["M0-5L5 4L-5 4z", NEUTRAL, False],
        "start": [_PLAY, NEUTRAL, False],
        "restart": [_PLAY, GREEN, True],
        "resume": [_PLAY, NEUTRAL, True],
        "pause": [_BARS, NEUTRAL, False],
        "crash": [_CROSS, ORANGE, False],
        "error": [_STAR, ORANGE, True],
        "violation": [_STAR, ORANGE, True],
    },
    # A flight's line: dashes, colour, width; its tip: a path around (0, 0) that looks to the right, and whether filled.
    "fates": {
        "arrives": ["", BLUE, 1.5, "M0 0L-9 4L-9-4z", True],
        "lost": ["5 4", ORANGE, 1.5, "M-5-5L5 5M-5 5L5-5", False],
        "again": ["2 3", PURPLE, 2, "M0 0L-9 4.5L-9-4.5z", False],
        "late": ["12 3 3 3", GREEN, 2, "M0 0L-8 4L-8-4zM-8 0L-16 4L-16-4z", True],
        "under way": ["1 5", NEUTRAL, 1.5, "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", False],
    },
    "lost_after": 0.7,  # of the way: there a lost message ends
    "lanes": {"down": "2 6", "paused": "10 5"},  # dashes
    "named": ["timer", "timeout", "note"],  # marks with a label
    "said": {"again": " (again)", "late": " (late)", "lost": " (lost)"},  # behind a message's label
    "label_places": [0.5, 0.35, 0.65, 0.22, 0.8],  # of the way: the first that is free has the label
    "operation": BLUE,
    "wrong": ORANGE,
}
_NAMES = {
    "send": "sends",
    "deliver": "receives",
    "timer": "timer",
    "timeout": "gives up waiting",
    "wake": "wakes up",
    "save": "saves",
    "note": "notes",
    "start": "starts",
    "restart": "restarts",
    "resume": "goes on",
    "pause": "freezes",
    "crash": "crashes",
    "error": "fails",
    "violation": "the violation",
}


def still(facts: Facts, summary: str, *, most: int = MOST_EVENTS) -> str:
    """Draw the last events.

    Args:
        facts: what there is.
        summary: one sentence for those who do not see the picture.
        most: how many events at most.
    """
    return _Still(facts, max(0, len(facts.events) - most)).svg(summary)


def columns(facts: Facts, first: int = 0) -> list[int]:
    """The column of each event from the first on; what merely starts one after the other shares one."""
    found, column, before = [], -1, ""
    for event in facts.events[first:]:
        column += not (event.kind == before == "start")
        before = event.kind
        found.append(column)
    return found


class _Still:
    """One picture while it is drawn."""

    def __init__(self, facts: Facts, first: int) -> None:
        self.facts, self.first = facts, first
        self.columns = columns(facts, first)
        self.left = 20 + LETTER * 1.15 * max(map(len, facts.lanes), default=0)
        self.width = self.left + STEP * (self.columns[-1] + 1 if self.columns else 1) + 110
        self.height = TOP + GAP * max(0, len(facts.lanes) - 1) + BOTTOM
        places = range(first, len(facts.events))
        spots = [
            (self.x(place), facts.lanes.index(facts.events[place].node)) for place in places if facts.events[place].node
        ]
        # Where no label can stand: left, right, baseline.
        self._taken = [(x - 7, x + 7, self.y(lane) + 4) for x, lane in spots]

    def x(self, place: int | None, beyond: float = 0) -> float:
        """Where an event stands; what lies before the picture or after it ends at its edge."""
        if place is None:
            return self.width - 60
        if place < self.first:
            return self.left - 6
        return self.left + 14 + STEP * (self.columns[place - self.first] + beyond)

    @staticmethod
    def y(lane: int) -> float:
        return TOP + GAP * lane

    def svg(self, summary: str) -> str:
        size = f'viewBox="0 0 {self.width:.0f} {self.height}" width="{self.width:.0f}" height="{self.height}"'
        marks = [*self._marks()]  # their labels come before those of messages
        parts = [
            f'<svg {size} role="img" '
            f'aria-label="{escape(summary)}" font-family="system-ui,sans-serif" font-size="11" fill="none">'
            f"<title>Space-time diagram</title><desc>{escape(summary)}</desc>",
            *(part for span in self.facts.spans if span.what == "partition" for part in self._span(span)),
            *self._violation(),
            *self._lanes(),
            *(part for span in self.facts.spans if span.what != "partition" for part in self._span(span)),
            *(part for flight in self.facts.flights for part in self._flight(flight)),
            *marks,
            *self._times(),
        ]
        return "".join(parts) + "</svg>"

    def _shown(self, span: Span) -> bool:
        return span.end is None or span.end >= self.first

    def _lanes(self) -> Iterator[str]:
        for lane, name in enumerate(self.facts.lanes):
            y = self.y(lane)
            yield f'<text x="8" y="{y + 4:g}" fill="currentColor" font-weight="600">{escape(name)}</text>'
            begin = self.x(self.first - 1)
            for span in self.facts.spans:
                if span.lane == lane and span.what in LOOK["lanes"] and self._shown(span):
                    yield _line(begin, self.x(span.begin), y)
                    dashes = LOOK["lanes"][span.what]
                    yield _line(self.x(span.begin), self.x(span.end), y, f' stroke-dasharray="{dashes}"')
                    begin = self.x(span.end)
            yield _line(begin, self.x(None), y)

    def _span(self, span: Span) -> Iterator[str]:
        if not self._shown(span):
            return
        begin, end = self.x(span.begin), self.x(span.end)
        if span.what == "partition":
            height = self.height - 34
            yield (
                f'<g><title>partition: {escape(span.label)}</title><rect x="{begin:g}" y="18" '
                f'width="{end - begin:g}" height="{height}" fill="currentColor" fill-opacity=".07" '
                'stroke="currentColor" stroke-opacity=".5" stroke-dasharray="6 3"/>'
                f'<text x="{begin + 4:g}" y="13" fill="currentColor">partition: {escape(_cut(span.label, 60))}</text>'
                "</g>"
            )
        elif span.what == "operation":
            y = self.y(span.lane)
            right = "" if span.end is None else f"M{end:g} {y - 7:g}V{y + 7:g}"
            yield (
                f'<g><title>{escape(span.label)}</title><path d="M{begin:g} {y - 7:g}V{y + 7:g}{right}" '
                f'stroke="{BLUE}" stroke-width="2"/><path d="M{begin:g} {y:g}H{end:g}" stroke="{BLUE}" '
                'stroke-width="6" stroke-opacity=".35"/></g>'
            )
            yield self._label(begin + 3, y - 10, span.label)

    def _violation(self) -> Iterator[str]:
        for event, place in zip(self.facts.events[self.first :], itertools.count(self.first)):
            if event.kind in ("violation", "error"):
                x, word = self.x(place), "VIOLATION" if event.kind == "violation" else "ERROR"
                yield (
                    f'<rect x="{x - 14:g}" y="18" width="28" height="{self.height - 34}" fill="{ORANGE}" '
                    f'fill-opacity=".18" stroke="{ORANGE}"/><text x="{x + 17:g}" y="{self.height - 20:g}" '
                    f'fill="currentColor" font-weight="700">{word}</text>'
                )

    def _flight(self, flight: Flight) -> Iterator[str]:
        last = flight.ended if flight.ended is not None else len(self.facts.events)
        if last < self.first:
            return
        dashes, colour, width, tip, filled = LOOK["fates"][flight.fate]
        x1, y1, x2, y2 = self.x(flight.sent), self.y(flight.source), self.x(flight.ended), self.y(flight.dest)
        if flight.sent is None:
            x1 = self.left - 6
        if flight.fate in ("lost", "under way"):
            part = LOOK["lost_after"]
            x2, y2 = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
        own = flight.source == flight.dest
        path = f"M{x1:g} {y1:g}" + (f"Q{(x1 + x2) / 2:g} {y1 - 34:g} {x2:g} {y2:g}" if own else f"L{x2:g} {y2:g}")
        angle = 55 if own else math.degrees(math.atan2(y2 - y1, x2 - x1))
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        ends = [place for place in (flight.sent, flight.ended) if place is not None]
        told = self.facts.events[ends[0]]
        yield (
            f"<g><title>{escape(flight.fate)}: {escape(told.node)} {escape(told.words)}</title>"
            f'<path d="{path}" stroke="{colour}" stroke-width="{width}"{dash}/>'
            f'<path d="{tip}" transform="translate({x2:.1f} {y2:.1f}) rotate({angle:.0f})" stroke="{colour}" '
            f'stroke-width="1.5" fill="{colour if filled else "none"}"/></g>'
        )
        label = flight.label + LOOK["said"].get(flight.fate, "")
        for part in LOOK["label_places"]:
            x, y = x1 + part * (x2 - x1) + 5, y1 + part * (y2 - y1) + (-20 if own else 4)
            if shown := self._label(x, y, label):
                yield shown
                return

    def _label(self, x: float, y: float, label: str) -> str:
        """A text, if nothing stands there; what has no room is in the tooltips and in the text below."""
        label = _cut(label, 28)
        right = x + LETTER * len(label)
        if any(x < other and begin < right and abs(y - low) < 12 for begin, other, low in self._taken):
            return ""
        self._taken.append((x, right, y))
        return f'<text x="{x:g}" y="{y:g}" fill="currentColor" class="lab-st-label">{escape(label)}</text>'

    def _marks(self) -> Iterator[str]:
        for place in range(self.first, len(self.facts.events)):
            event = self.facts.events[place]
            if event.kind not in LOOK["marks"]:
                continue
            path, colour, filled = LOOK["marks"][event.kind]
            lane = self.facts.lanes.index(event.node) if event.node else None
            x, y = self.x(place), self.y(lane) if lane is not None else self.height - 24
            fill = colour if filled else "none"
            yield (
                f"<g><title>{escape(str(event).strip())}</title>"
                f'<path d="{path}" transform="translate({x:g} {y:g})" stroke="{colour}" stroke-width="2" '
                f'fill="{fill}"/></g>'
            )
            if event.kind in LOOK["named"] and lane is not None:
                yield self._label(x + 6, y - 9, event.label)

    def _times(self) -> Iterator[str]:
        free = 0.0
        for place in range(self.first, len(self.facts.events)):
            x = self.x(place)
            if x >= free:
                free = x + 76
                at_s = self.facts.events[place].at_s
                yield f'<text x="{x - 3:g}" y="{self.height - 5}" fill="currentColor">{at_s:.4g} s</text>'


def legend(facts: Facts) -> str:
    """What the forms mean, as an HTML list; only those that the diagram has."""
    fates = {flight.fate for flight in facts.flights}
    kinds = {event.kind for event in facts.events}
    rows = []
    for fate, (dashes, colour, width, tip, filled) in LOOK["fates"].items():
        if fate in fates:
            rows.append((_sample(26, dashes, colour, width, tip, filled), fate))
    for kind, (path, colour, filled) in LOOK["marks"].items():
        if kind in kinds and kind not in ("send", "deliver"):
            rows.append((_sample(10, "", colour, 0, path, filled), _NAMES[kind]))
    return "".join(f"<li>{picture} {escape(name)}</li>" for picture, name in rows)


def _sample(x: int, dashes: str, colour: str, width: float, path: str, filled: bool) -> str:
    line = (
        f'<path d="M0 10H{x}" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"/>' if width else ""
    )
    return (
        f'<svg width="{x + 10}" height="20" aria-hidden="true" fill="none" style="vertical-align:middle">{line}'
        f'<path d="{path}" transform="translate({x} 10) scale(.8)" stroke="{colour}" stroke-width="2" '
        f'fill="{colour if filled else "none"}"/></svg>'
    )


def _line(begin: float, end: float, y: float, more: str = "") -> str:
    return f'<path d="M{begin:g} {y:g}H{end:g}" stroke="currentColor" stroke-opacity=".55"{more}/>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
