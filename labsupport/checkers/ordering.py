"""The order in which nodes deliver messages: first in first out, causal, total."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical

FIFO, CAUSAL, TOTAL = "fifo", "causal", "total"
SEND, DELIVER = "send", "deliver"

Events = Mapping[Hashable, Sequence[tuple[str, Any]]]


def ordering(events: Events, order: str = FIFO) -> Finding:
    """Whether all nodes deliver messages in the promised order.

    Args:
        events: for each node what it did, in its order: ("send", message) or ("deliver", message). Messages are unique
            JSON values; a node may also deliver its own.
        order: "fifo", the messages of one sender in the order it sent them; "causal", never a message before one that
            its sender had sent or delivered before sending it; "total", all nodes the same order.

    Source: V. Hadzilacos and S. Toueg, *A Modular Approach to Fault-Tolerant Broadcasts*, 1994; happened-before is
    L. Lamport's (CACM 1978).

    >>> chat = {
    ...     "a": [("send", "who?")],
    ...     "b": [("deliver", "who?"), ("send", "me")],
    ...     "c": [("deliver", "me"), ("deliver", "who?")],
    ... }
    >>> ordering(chat, "fifo").result.value, ordering(chat, "causal").names
    ('ok', ('causal order broken',))
    """
    sender, anomalies = {}, []
    for node, done in events.items():
        for what, message in done:
            if what == SEND:
                sender[canonical(message)] = node
    deliveries = 0
    for node, done in events.items():
        seen = set()
        for what, message in done:
            if what == DELIVER:
                deliveries += 1
                if canonical(message) not in sender:
                    anomalies.append(Anomaly("never sent", f"{node} delivered {message!r}, which nobody has sent."))
                elif canonical(message) in seen:
                    anomalies.append(Anomaly("duplicated", f"{node} delivered {message!r} twice."))
                seen.add(canonical(message))
    if order == TOTAL:
        anomalies += _total(events)
    else:
        before = _sent_before(events) if order == FIFO else _caused_by(events)
        anomalies += _broken(events, before, order)
    unknown = "" if deliveries else "Nothing was delivered, so nothing can be said."
    good = f"{deliveries:,} deliveries at {len(events)} nodes keep {order} order."
    return conclude("ordering", anomalies, good=good, unknown=unknown, details={"deliveries": deliveries})


def _sent_before(events: Events) -> dict[Hashable, set[Hashable]]:
    """For each message those that its sender sent before it."""
    before = {}
    for done in events.values():
        earlier: set[Hashable] = set()
        for what, message in done:
            if what == SEND:
                before[canonical(message)] = frozenset(earlier)
                earlier.add(canonical(message))
    return before


def _caused_by(events: Events) -> dict[Hashable, set[Hashable]]:
    """For each message those that its sender had sent or delivered before, and what caused these."""
    direct = {}
    for done in events.values():
        earlier: list[Hashable] = []
        for what, message in done:
            if what == SEND:
                direct[canonical(message)] = list(earlier)
            earlier.append(canonical(message))
    caused: dict[Hashable, set[Hashable]] = {}
    for message in direct:
        reached, waiting = set(), list(direct[message])
        while waiting:
            cause = waiting.pop()
            if cause not in reached:
                reached.add(cause)
                waiting += direct.get(cause, ()) if cause not in caused else caused[cause]
        caused[message] = reached
    return caused


def _broken(events: Events, before: Mapping[Hashable, set[Hashable]], order: str) -> Iterator[Anomaly]:
    for node, done in events.items():
        delivered: list[Any] = []
        had = {canonical(message) for what, message in done if what == SEND}
        for what, message in done:
            if what != DELIVER:
                continue
            late = next((later for later in delivered if canonical(message) in before.get(canonical(later), ())), None)
            if late is not None and canonical(message) not in had:
                summary = f"{node} delivered {late!r} before {message!r}, on which it depends."
                yield Anomaly(f"{order} order broken", summary)
                break
            delivered.append(message)


def _total(events: Events) -> Iterator[Anomaly]:
    orders = {node: [message for what, message in done if what == DELIVER] for node, done in events.items()}
    place = {node: {canonical(message): index for index, message in enumerate(order)} for node, order in orders.items()}
    names = list(orders)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            common = [message for message in orders[one] if canonical(message) in place[other]]
            for earlier, later in pairwise(common):
                if place[other][canonical(earlier)] > place[other][canonical(later)]:
                    summary = f"{one} delivered {earlier!r} before {later!r}, and {other} the other way round."
                    yield Anomaly("total order broken", summary)
                    return
