"""A run as a space-time diagram in plain text: one lane per node, time from top to bottom.

          n1        n2
    0.000 o starts
    0.000 .         o starts
    0.150 o timer 'election' goes off
    0.150 o-------->. request_vote(term=1) to n2
    0.152 .         * receives request_vote(term=1) from n1

A lane is ``|`` while its node lives, ``:`` while it is down. ``o`` marks what a node does, ``*`` a message that
arrives, ``x`` a crash or a loss. Every line says in words what it shows, so that nothing hangs on the drawing alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.trace import Event, Trace

WIDTH = 6  # of a lane, if the names are not longer
MOST_WORDS = 90  # characters per line beside the lanes; the trace has the rest
MOST_LINES = 120  # nobody reads more; what is left out is said

_MARKS = {"deliver": "*", "lose": "x", "crash": "x", "error": "!", "violation": "!"}
_SHOWN_AS_TEXT = ("send", "deliver", "lose")


def drawn(trace: Trace, *, lines: int = MOST_LINES, saves: bool = False) -> str:
    """Draw a trace.

    Args:
        trace: the run, best a shrunk one.
        lines: how many events at most; the last ones are drawn.
        saves: whether what nodes save is drawn, too.
    """
    events = [event for event in trace if event.kind != "save" or saves]
    arrived = {event.message for event in events if event.kind == "deliver"}
    busy = {event.node for event in events if event.kind != "start"} | {event.peer for event in events}
    lanes = [name for name in trace.nodes if name in busy] or list(trace.nodes)
    left_out = max(0, len(events) - lines)
    down: set[str] = set()
    for event in events[:left_out]:
        _follow(event, down)
    width = max([WIDTH, *(len(name) + 2 for name in lanes)])
    shown = [" " * 10 + "".join(f"{name:<{width}}" for name in lanes).rstrip()]
    if left_out:
        shown.append(f"          ... {left_out} earlier events are not shown ...")
    for event in events[left_out:]:
        _follow(event, down)
        if event.node in lanes or not event.node:
            shown.append(_line(event, lanes, width, down, event.message in arrived))
    return "\n".join(shown)


def _follow(event: Event, down: set[str]) -> None:
    if event.kind in ("crash", "pause"):
        down.add(event.node)
    elif event.kind in ("restart", "resume"):
        down.discard(event.node)


def _line(event: Event, lanes: Sequence[str], width: int, down: set[str], arrives: bool) -> str:
    cells = [(":" if name in down else "|").ljust(width) for name in lanes]
    here = lanes.index(event.node) if event.node in lanes else None
    there = lanes.index(event.peer) if event.peer in lanes else None
    if here is not None:
        mark = _MARKS.get(event.kind, "o")
        if event.kind == "send" and there is not None and there != here:
            _arrow(cells, here, there, mark, width)
        else:
            cells[here] = mark.ljust(width)
    words = event.words
    if event.kind == "send" and not arrives:
        words += " (does not arrive)"
    words = words if len(words) <= MOST_WORDS else f"{words[: MOST_WORDS - 4]} ..."
    who = event.node or "network"
    return f"{event.at_s:9.4f} {''.join(cells)} {who} {words}"


def _arrow(cells: list[str], here: int, there: int, mark: str, width: int) -> None:
    """Draw an arrow over the lanes between two nodes."""
    low, high = min(here, there), max(here, there)
    for lane in range(low, high):
        cells[lane] = "-" * width
    if here < there:
        cells[here] = mark + "-" * (width - 1)
        cells[there - 1] = cells[there - 1][:-1] + ">"
        cells[there] = "|".ljust(width)
    else:
        cells[there] = "|<" + "-" * (width - 2)
        cells[here] = mark.ljust(width)
