"""What happened in one run, event by event, with what caused what.

A world appends one small tuple per event; everything else here is worked out when somebody looks.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from labsupport.history import Ending, History, Operation
from labsupport.messages import packed_body, text

# A message under way: (number, sender, receiver, message class, packed fields, msg_id, in_reply_to). Between real
# processes the class is None, and its fields are the line that the sender wrote.
Envelope = tuple

# The kinds of events. Those in STEPS are what a world chooses to do; the others follow from them.
STEPS = ("deliver", "timer", "timeout", "wake", "crash", "restart", "pause", "resume", "partition", "heal")
KINDS = (*STEPS, "start", "send", "lose", "save", "note", "call", "return", "error", "violation")


@dataclasses.dataclass(frozen=True)
class Event:
    """One event of a run.

    Args:
        index: its place in the trace.
        at_s: when, in the world's time.
        kind: one of `KINDS`.
        node: where; "" for what concerns the network.
        peer: the other end of a message, or of the request that a timeout belongs to.
        message: number of the message, the same for its sending, its deliveries and its loss.
        body: the JSON body of a message, what was saved, the facts of a note.
        label: the message's type, the timer's name, the reason of a loss, what a note says.
        clock: the vector clock after the event, one number per node of the trace.
        cause: index of the sending, for a delivery or a loss.
    """

    index: int
    at_s: float
    kind: str
    node: str
    peer: str = ""
    message: int | None = None
    body: dict[str, Any] | None = None
    label: str = ""
    clock: tuple[int, ...] = ()
    cause: int | None = None

    def before(self, other: Event) -> bool:
        """Whether this could have influenced the other (happened before it, in Lamport's sense)."""
        return self.clock != other.clock and all(a <= b for a, b in zip(self.clock, other.clock, strict=True))

    def __str__(self) -> str:
        return f"{self.at_s:9.4f} s  {self.node:<4} {self.words}"

    @property
    def words(self) -> str:
        """The event as a short sentence without its subject."""
        shown = "" if self.body is None else brief(self.body)
        spoken = {
            "send": f"sends {shown} to {self.peer}",
            "deliver": f"receives {shown} from {self.peer}",
            "lose": f"never receives {shown} from {self.peer} ({self.label})",
            "timer": f"timer {self.label!r} goes off",
            "timeout": f"gives up waiting for {self.peer} to answer {self.label}",
            "wake": "has slept enough",
            "save": f"saves {shown}",
            "note": f"{self.label}{' ' if shown else ''}{shown}",
            "call": f"asks {self.label}",
            "return": f"is told {self.label}",
            "partition": f"partition: {self.label}",
            "heal": "the partition heals",
            "error": f"fails: {self.label}",
            "violation": f"VIOLATION: {self.label}",
        }
        plain = {"crash": "crashes", "restart": "restarts", "pause": "freezes", "resume": "goes on", "start": "starts"}
        return spoken.get(self.kind) or plain[self.kind] + (f" ({self.label})" if self.label else "")


def brief(body: dict[str, Any]) -> str:
    """A JSON body in a form for the eye: ``ping(number=3)``."""
    fields = {key: value for key, value in body.items() if key not in ("type", "msg_id", "in_reply_to")}
    inner = ", ".join(f"{key}={_cut(value)}" for key, value in fields.items())
    return f"{body['type']}({inner})" if "type" in body else inner


def _cut(value: Any) -> str:
    shown = text(value) if isinstance(value, (list, dict)) else repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


class Trace(Sequence):
    """The events of one run, in the order in which they happened.

    Args:
        nodes: all names, in the order of the lanes of a picture.
        records: the tuples ``(microseconds, kind, node, detail)`` that a world wrote.
        seed: what the run was drawn from.
    """

    def __init__(self, nodes: Iterable[str], records: Iterable[tuple], seed: int | None = None) -> None:
        self.nodes, self.records, self.seed = tuple(nodes), list(records), seed

    @functools.cached_property
    def events(self) -> tuple[Event, ...]:
        """All events, with their causes."""
        return tuple(_explain(self.nodes, self.records))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, place):
        return self.events[place]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def of_kind(self, *kinds: str) -> list[Event]:
        """The events of some kinds."""
        return [event for event in self.events if event.kind in kinds]

    def notes(self, what: str) -> list[dict[str, Any]]:
        """The facts that nodes noted under one heading, each with "node" and "at_s"."""
        found = [event for event in self.events if event.kind == "note" and event.label == what]
        return [{"node": event.node, "at_s": event.at_s, **(event.body or {})} for event in found]

    def history(self) -> History:
        """What the clients asked and were told."""
        return History(_operations(self.records))

    def digest(self) -> str:
        """A fingerprint of everything that happened: equal runs have equal ones, in any process."""
        whole = hashlib.sha256()
        for at, kind, node, detail in self.records:
            whole.update(f"{at} {kind} {node} {_told(kind, detail)!r}\n".encode("utf-8", "surrogatepass"))
        return whole.hexdigest()

    def as_json(self, most: int | None = None) -> dict[str, Any]:
        """The trace as a JSON object, for pictures and verdicts; ``Event(index, *row)`` is an event again.

        Args:
            most: how many events at most, the last ones; "left_out" says how many are missing.
        """
        events = self.events if most is None else self.events[-most:]
        rows = [[e.at_s, e.kind, e.node, e.peer, e.message, e.body, e.label] for e in events]
        return {"nodes": list(self.nodes), "seed": self.seed, "left_out": len(self) - len(rows), "events": rows}

    def last(self, count: int = 8) -> list[str]:
        """The last events, one line each."""
        return [str(event) for event in self.events[-count:]]

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

    def __repr__(self) -> str:
        return f"<Trace of {len(self.records)} events on {', '.join(self.nodes)}>"


def _told(kind: str, detail: Any) -> Any:
    """A record's detail in plain values."""
    if kind in ("send", "deliver"):
        return (*detail[:3], detail[3] and detail[3].wire_type, *detail[4:])
    if kind == "lose":
        return (*_told("send", detail[0]), detail[1])
    return detail


def _explain(nodes: tuple[str, ...], records: list[tuple]) -> Iterator[Event]:
    place = {name: number for number, name in enumerate(nodes)}
    clocks = {name: [0] * len(nodes) for name in nodes}
    sent: dict[int, tuple[int, tuple[int, ...]]] = {}
    for index, (at, kind, node, detail) in enumerate(records):
        fields: dict[str, Any] = {}
        if kind in ("send", "deliver", "lose"):
            envelope = detail[0] if kind == "lose" else detail
            number, source, dest, *packed = envelope
            body = packed_body(*packed) if packed[0] is not None else json.loads(packed[1])["body"]
            fields = {
                "message": number,
                "peer": dest if kind == "send" else source,
                "body": body,
                "label": detail[1] if kind == "lose" else str(body.get("type", "")),
                "cause": sent.get(number, (None,))[0] if kind != "send" else None,
            }
        else:
            fields = _fields(kind, detail)
        if node in clocks and kind != "lose":
            clock = clocks[node]
            clock[place[node]] += 1
            if kind == "deliver" and fields["cause"] is not None:
                clock[:] = map(max, clock, sent[fields["message"]][1])
            fields["clock"] = tuple(clock)
            if kind == "send":
                sent[fields["message"]] = (index, tuple(clock))
        yield Event(index, at / 1_000_000, kind, node, **fields)


def _fields(kind: str, detail: Any) -> dict[str, Any]:
    if kind == "note":
        return {"label": detail[0], "body": detail[1] or None}
    if kind == "save":
        return {"body": detail}
    if kind == "timeout":
        return {"peer": detail[0], "label": detail[1]}
    if kind == "call":
        return {"label": Operation("", detail[1], detail[2], detail[3], called=detail[0]).text.split(" -> ")[0]}
    if kind == "return":
        return {"label": repr(detail[1]) if detail[2] == "ok" else detail[2]}
    if kind == "partition":
        return {"label": ", ".join(f"{a} -> {b}" for a, b in detail)}
    return {"label": detail or ""}


def _operations(records: list[tuple]) -> Iterator[Operation]:
    """Operations from the records "call" (number, kind, key, value) and "return" (number, result, ending)."""
    called: dict[int, tuple] = {}
    for at, kind, node, detail in records:
        if kind == "call":
            called[detail[0]] = (at, node, *detail[1:])
        elif kind == "return":
            began, client, what, key, value = called.pop(detail[0])
            returned = None if detail[2] == "unknown" else at
            yield Operation(client, what, key, value, detail[1], began, returned, Ending(detail[2]))
    for began, client, what, key, value in called.values():
        yield Operation(client, what, key, value, None, began, None, Ending.UNKNOWN)
