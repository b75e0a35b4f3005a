"""What a space-time diagram has to show, worked out of a trace: lanes, messages with their fates, spans of time.

`labsupport.spacetime` draws a trace as text. `spacetime_svg` draws these facts as a still picture,
`spacetime_player.js` as one that moves, and `spacetime_picture` puts both into a page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from labsupport.trace import Event

# What became of a message. Each has its own form in the pictures, and these words in the legend.
FATES = {
    "arrives": "a message arrives",
    "lost": "a message is lost",
    "again": "a message arrives again",
    "late": "a message was overtaken by a later one",
    "under way": "a message is still under way",
}


class Flight(NamedTuple):
    """One arrow: a sending, or what was sent before the diagram begins, and one of its ends, both by place.

    A message that arrives twice has two flights.
    """

    sent: int | None
    ended: int | None
    fate: str
    source: int
    dest: int
    label: str


class Span(NamedTuple):
    """Something that lasts: a node is down or paused, a partition, an operation of a client."""

    what: str
    lane: int | None
    begin: int
    end: int | None
    label: str


@dataclasses.dataclass
class Facts:
    """All that is drawn; events are known by their places in `events`, nodes by their places in `lanes`."""

    lanes: list[str]
    events: list[Event]
    flights: list[Flight]
    spans: list[Span]
    left_out: int = 0

    def as_json(self) -> dict[str, Any]:
        """The facts as the script in the page reads them."""
        return {
            "lanes": self.lanes,
            "events": [_row(event, self.lanes) for event in self.events],
            "flights": [list(flight) for flight in self.flights],
            "spans": [list(span) for span in self.spans],
            "leftOut": self.left_out,
        }


def facts(told: Mapping[str, Any]) -> Facts:
    """The facts of a trace that `Trace.as_json` has told."""
    events = [Event(place, *row) for place, row in enumerate(told["events"])]
    busy = {name for event in events if event.kind != "start" for name in (event.node, event.peer) if name}
    lanes = [name for name in told["nodes"] if name in busy] or list(told["nodes"])
    lanes += sorted(busy - set(lanes))
    place = {name: number for number, name in enumerate(lanes)}
    # What starts and then does nothing has no lane.
    events = [event for event in events if not event.node or event.node in place]
    return Facts(lanes, events, list(_flights(events, place)), list(_spans(events, place)), told.get("left_out", 0))


def _row(event: Event, lanes: list[str]) -> list[Any]:
    lane = lanes.index(event.node) if event.node else -1
    words = event.words
    body = event.body if event.body and "..." in words else None  # else the words already say all of it
    return [event.at_s, event.kind, lane, event.label, words, body]


def _flights(events: Iterable[Event], place: Mapping[str, int]) -> Iterator[Flight]:
    sent: dict[int, tuple[int, Event]] = {}
    ended: set[int] = set()
    newest: dict[tuple[str, str], int] = {}  # on each link, the number of the newest message that has arrived
    for number, event in enumerate(events):
        if event.kind == "send":
            sent[event.message] = (number, event)
        elif event.kind in ("deliver", "lose"):
            link, began = (event.peer, event.node), sent.get(event.message, (None,))[0]
            fate = "lost" if event.kind == "lose" else _fate(event, ended, newest.get(link, -1))
            if event.kind == "deliver":
                newest[link] = max(newest.get(link, -1), event.message)
            ended.add(event.message)
            label = str((event.body or {}).get("type", event.label))
            yield Flight(began, number, fate, place[event.peer], place[event.node], label)
    for number, event in sent.values():
        if event.message not in ended:
            yield Flight(number, None, "under way", place[event.node], place[event.peer], event.label)


def _fate(event: Event, ended: set[int], newest: int) -> str:
    if event.message in ended:
        return "again"
    return "late" if event.message < newest else "arrives"


def _spans(events: Iterable[Event], place: Mapping[str, int]) -> Iterator[Span]:
    opened: dict[tuple[str, str], tuple[int, str]] = {}

    def close(what: str, node: str, end: int | None, told: str = "") -> Iterator[Span]:
        if (what, node) in opened:
            begin, label = opened.pop((what, node))
            yield Span(what, place.get(node), begin, end, " → ".join(filter(None, [label, told])))

    begins = {"crash": "down", "pause": "paused", "partition": "partition", "call": "operation"}
    ends = {"restart": "down", "resume": "paused", "heal": "partition", "return": "operation"}
    for number, event in enumerate(events):
        if event.kind in ends:
            yield from close(ends[event.kind], event.node, number, event.label if event.kind == "return" else "")
        if event.kind == "crash":  # what is frozen can be killed, and is no longer frozen then
            yield from close("paused", event.node, number)
        if event.kind in begins:
            yield from close(begins[event.kind], event.node, number)
            opened[begins[event.kind], event.node] = (number, event.label)
    for what, node in list(opened):
        yield from close(what, node, None)
