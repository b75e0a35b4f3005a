"""Partitioned logs, as Kafka's: what is polled is what was sent, where it was sent, in order, with nothing skipped.

Source: Maelstrom's kafka workload and the names that Jepsen's checker for Kafka gives (lost write, inconsistent
offsets, nonmonotonic poll, poll skip).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical
from labsupport.history import Ending, History, Operation


def partitioned_log(history: History, *, complete: bool = False) -> Finding:
    """Whether sends and polls of partitioned logs fit together.

    Args:
        history: "send" with a key and a value unique for it, whose result is the offset; "poll", whose result maps keys
            to lists of [offset, value]; "assign", with which a client starts reading again somewhere. A client's polls
            go on where its last one ended; of the offsets between, those that somebody has seen must not be left out.
        complete: in the end everything was polled from its beginning; so what was acknowledged must have been seen.

    >>> finding = partitioned_log(History([
    ...     Operation("p", "send", key="k", value=10, result=0, called=0, returned=1),
    ...     Operation("p", "send", key="k", value=11, result=1, called=2, returned=3),
    ...     Operation("c", "poll", result={"k": [[1, 11]]}, called=4, returned=5),
    ... ]))
    >>> finding.summary
    'lost write: 10 was acknowledged at offset 0 of k; nobody has polled it, though 11 at offset 1 was.'
    """
    sends: dict[tuple[Hashable, Hashable], Operation] = {}
    for operation in history:
        if operation.kind == "send":
            sends.setdefault((str(operation.key), canonical(operation.value)), operation)
    polls = [op for op in history if op.kind == "poll" and op.ending is Ending.OK and op.result]
    at: dict[tuple[str, int], tuple[object, Operation]] = {}
    anomalies = [*_offsets(history, polls, at), *_strange(sends, polls)]
    polled = {(str(key), offset): poll for poll in polls for key, pairs in poll.result.items() for offset, _ in pairs}
    anomalies += _never_polled(sends, polls, polled, at, complete)
    anomalies += _client_order(history, at)
    unknown = "" if polls else "Nothing was polled, so nothing can be said."
    good = f"{len(polled):,} offsets were polled as they were sent."
    details = {"sends": len(sends), "polls": len(polls), "offsets": len(at)}
    return conclude("partitioned log", anomalies, good=good, unknown=unknown, details=details)


def _told(operation: Operation) -> Iterator[tuple[str, int, object]]:
    """The offsets that an answer tells: key, offset, value."""
    if operation.kind == "send" and type(operation.result) is int:
        yield str(operation.key), operation.result, operation.value
    elif operation.kind == "poll":
        for key, pairs in (operation.result or {}).items():
            for offset, value in pairs:
                yield str(key), offset, value


def _offsets(history: History, polls, at) -> Iterator[Anomaly]:
    """Two values at one offset, or one value at two; fills `at` with what is where."""
    place_of: dict[tuple[str, Hashable], tuple[int, Operation]] = {}
    seen = set()
    for operation in history:
        if operation.ending is not Ending.OK:
            continue
        for key, offset, value in _told(operation):
            other, teller = at.setdefault((key, offset), (value, operation))
            if canonical(other) != canonical(value) and ("two", key, offset) not in seen:
                seen.add(("two", key, offset))
                who, whom = teller.client, operation.client
                summary = f"offset {offset} of {key} holds {other!r} for {who} and {value!r} for {whom}."
                yield Anomaly("inconsistent offsets", summary, (), (teller, operation), key)
            known, teller = place_of.setdefault((key, canonical(value)), (offset, operation))
            if known != offset and ("twice", key, canonical(value)) not in seen:
                seen.add(("twice", key, canonical(value)))
                summary = f"{value!r} is at the offsets {known} and {offset} of {key}."
                yield Anomaly("duplicate", summary, (), (teller, operation), key)


def _strange(sends, polls: list[Operation]) -> Iterator[Anomaly]:
    for poll in polls:
        for key, _, value in _told(poll):
            send = sends.get((key, canonical(value)))
            if send is None:
                yield Anomaly(
                    "never sent", f"{poll.client} polled {value!r} from {key}, which nobody sent.", (), (poll,), key
                )
            elif send.ending is Ending.FAILED:
                summary = f"{poll.client} polled {value!r} from {key}, although its send had failed for certain."
                yield Anomaly("aborted read", summary, (), (send, poll), key)
            elif poll.precedes(send):
                yield Anomaly(
                    "read before sent", f"{poll.client} polled {value!r} before it was sent.", (), (poll, send), key
                )


def _never_polled(sends, polls, polled: dict[tuple[str, int], Operation], at, complete: bool) -> Iterator[Anomaly]:
    """What was acknowledged and never polled by anybody: lost if it lies below what was polled, else unseen."""
    highest: dict[str, int] = {}
    for key, offset in polled:
        highest[key] = max(offset, highest.get(key, offset))
    values = {(key, canonical(value)) for poll in polls for key, _, value in _told(poll)}
    for (key, value), send in sends.items():
        if send.ending is not Ending.OK or type(send.result) is not int or (key, value) in values:
            continue
        summary = f"{send.value!r} was acknowledged at offset {send.result} of {key}; nobody has polled it"
        if send.result <= highest.get(key, -1):
            top = highest[key]
            summary += f", though {at[key, top][0]!r} at offset {top} was."
            yield Anomaly("lost write", summary, (), (send, polled[key, top]), key)
        elif complete:
            yield Anomaly("unseen", f"{summary}, not even in the end.", (), (send,), key)


def _client_order(history: History, at) -> Iterator[Anomaly]:
    """Each client's polls go up without a gap, and its sends go up."""
    known: dict[str, list[int]] = {}
    for key, offset in sorted(at):
        known.setdefault(key, []).append(offset)
    following = {(key, one): other for key, offsets in known.items() for one, other in pairwise(offsets)}
    last_poll: dict[tuple, tuple[int, Operation]] = {}
    last_send: dict[tuple, Operation] = {}
    for operation in history:
        if operation.kind == "assign":
            last_poll = {stream: last for stream, last in last_poll.items() if stream[0] != operation.client}
        if operation.ending is not Ending.OK:
            continue
        if operation.kind == "send" and type(operation.result) is int:
            stream = (operation.client, str(operation.key))
            before = last_send.get(stream)
            if before is not None and operation.result <= before.result:
                summary = (
                    f"{operation.client} sent {operation.value!r} after {before.value!r}, and its offset is not higher."
                )
                yield Anomaly("nonmonotonic send", summary, (), (before, operation), operation.key)
            last_send[stream] = operation
        elif operation.kind == "poll":
            for key, offset, _ in _told(operation):
                stream = (operation.client, key)
                if stream in last_poll:
                    yield from _step(key, *last_poll[stream], offset, operation, following)
                last_poll[stream] = (offset, operation)


def _step(key, before: int, earlier: Operation, offset: int, operation: Operation, following) -> Iterator[Anomaly]:
    involved = (operation,) if earlier is operation else (earlier, operation)
    if offset <= before:
        summary = f"{operation.client} polled offset {offset} of {key} after offset {before}."
        yield Anomaly("nonmonotonic poll", summary, (), involved, key)
    elif following.get((key, before), offset) < offset:
        summary = (
            f"{operation.client} went from offset {before} of {key} to {offset} and left out {following[key, before]}."
        )
        yield Anomaly("poll skip", summary, (), involved, key)
