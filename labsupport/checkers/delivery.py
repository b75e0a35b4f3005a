"""Delivery of messages: nothing lost, nothing twice, nothing out of order, nothing that was never sent."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical
from labsupport.history import Ending, History, Operation

AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE = "at most once", "at least once", "exactly once"
SENDS, RECEIVES = frozenset({"send", "publish"}), frozenset({"receive", "deliver"})


def delivery(
    history: History,
    guarantee: str = EXACTLY_ONCE,
    *,
    each: bool = False,
    ordered: bool = False,
    drained: bool = True,
) -> Finding:
    """Whether the messages that clients sent reached those who received, as often and in the order promised.

    Args:
        history: "send" (or "publish") operations with a value, unique for its key (a topic, a queue); "receive" (or
            "deliver") operations whose result is a value, None for nothing there.
        guarantee: one of the three constants above.
        each: every receiver of a key is to get every message of it; else one of them is (a work queue).
        ordered: for each key and receiver, in the order in which they were sent. Sends that overlap have no order.
        drained: the receivers have taken all there was; if not, nothing can be called lost.

    A send that certainly failed must not arrive; one without an answer may arrive or not.

    >>> def sent(value, called):
    ...     return Operation("p", "send", key="jobs", value=value, called=called, returned=called + 1)
    >>> def got(value, called):
    ...     return Operation("c", "receive", key="jobs", result=value, called=called, returned=called + 1)
    >>> delivery(History([sent(1, 0), sent(2, 2), sent(3, 4), got(2, 6), got(1, 8), got(1, 10)]), ordered=True).names
    ('lost', 'duplicated', 'reordered')
    """
    sends: dict[tuple[Hashable, Hashable], Operation] = {}
    for operation in history:
        if operation.kind in SENDS:
            sends.setdefault(_message(operation, operation.value), operation)
    receipts = [op for op in history if op.kind in RECEIVES and op.ending is Ending.OK and op.result is not None]
    anomalies = [*_strange(sends, receipts)]
    if guarantee != AT_LEAST_ONCE:
        anomalies += _duplicated(sends, receipts, each)
    if guarantee != AT_MOST_ONCE and drained:
        anomalies += _lost(sends, receipts, each)
    if ordered:
        anomalies += _reordered(sends, receipts)
    unknown = ""
    if not any(send.ending is Ending.OK for send in sends.values()):
        unknown = "No send was acknowledged, so nothing can be said."
    elif guarantee != AT_MOST_ONCE and not drained:
        unknown = "The receivers had not taken all there was, so what is missing may be on its way."
    good = f"{len(sends):,} messages were delivered {guarantee}{' and in order' if ordered else ''}."
    details = {"sent": len(sends), "received": len(receipts)}
    return conclude("delivery", anomalies, good=good, unknown=unknown, details=details)


def _message(operation: Operation, value) -> tuple[Hashable, Hashable]:
    return canonical(operation.key), canonical(value)


def _strange(sends, receipts: list[Operation]) -> Iterable[Anomaly]:
    for receipt in receipts:
        send = sends.get(_message(receipt, receipt.result))
        if send is None:
            summary = f"{receipt.client} received {receipt.result!r}, which nobody has sent."
            yield Anomaly("never sent", summary, (), (receipt,), receipt.key)
        elif send.ending is Ending.FAILED:
            summary = f"{receipt.client} received {receipt.result!r}, although its send had failed for certain."
            yield Anomaly("failed but delivered", summary, (), (send, receipt), receipt.key)
        elif receipt.precedes(send):
            summary = f"{receipt.client} received {receipt.result!r} before it was sent."
            yield Anomaly("received before sent", summary, (), (receipt, send), receipt.key)


def _duplicated(sends, receipts: list[Operation], each: bool) -> Iterable[Anomaly]:
    by_message: dict = {}
    for receipt in receipts:
        whose = receipt.client if each else None
        by_message.setdefault((*_message(receipt, receipt.result), whose), []).append(receipt)
    for (key, value, _), same in by_message.items():
        if len(same) > 1 and (key, value) in sends:
            whom = " and ".join(dict.fromkeys(str(receipt.client) for receipt in same))
            summary = f"{same[0].result!r} was received {len(same)} times, by {whom}."
            yield Anomaly("duplicated", summary, (), (sends[key, value], *same[:2]), same[0].key)


def _lost(sends, receipts: list[Operation], each: bool) -> Iterable[Anomaly]:
    receivers: dict = {}
    for receipt in receipts:
        receivers.setdefault(canonical(receipt.key), {}).setdefault(receipt.client, set()).add(
            canonical(receipt.result)
        )
    for (key, value), send in sends.items():
        if send.ending is Ending.OK:
            there = receivers.get(key, {})
            lacking = [client for client, values in there.items() if value not in values]
            if not there or (lacking if each else len(lacking) == len(there)):
                whom = f"by {', '.join(map(str, lacking))}" if each and there else "by anybody"
                summary = f"{send.value!r} was acknowledged to {send.client} and never received {whom}."
                yield Anomaly("lost", summary, (), (send,), send.key)


def _reordered(sends, receipts: list[Operation]) -> Iterable[Anomaly]:
    """The first swap that each receiver saw of each key; a message counts where it came first."""
    latest: dict = {}
    seen, told = set(), set()
    for receipt in receipts:
        message = _message(receipt, receipt.result)
        send = sends.get(message)
        stream = (receipt.client, message[0])
        if send is None or (stream, message) in seen or stream in told:
            continue
        seen.add((stream, message))
        before = latest.get(stream)
        if before is not None and send.precedes(before[0]):
            told.add(stream)
            summary = f"{receipt.client} received {before[0].value!r} before {send.value!r}, which was sent earlier."
            reason = f"{send.text} returned ({send.returned}) before {before[0].text} was called ({before[0].called})."
            yield Anomaly("reordered", summary, (reason,), (send, before[0], before[1], receipt), receipt.key)
        if before is None or send.called > before[0].called:
            latest[stream] = (send, receipt)
