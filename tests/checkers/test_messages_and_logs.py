"""Delivery, order, convergence, ids, elections and logs: each anomaly by its name, and what must not be one."""

from __future__ import annotations

import random

import pytest

from labsupport.checkers.agreement import log_agreement
from labsupport.checkers.convergence import broadcast, counter_total, final_reads
from labsupport.checkers.delivery import AT_LEAST_ONCE, AT_MOST_ONCE, EXACTLY_ONCE, delivery
from labsupport.checkers.election import Claim, election_safety
from labsupport.checkers.finding import Result
from labsupport.checkers.ids import unique_ids
from labsupport.checkers.ordering import ordering
from labsupport.history import Ending, History, Operation

OK, FAILED, UNKNOWN = Ending


def op(client, kind, value=None, result=None, at=0, key="k", ending=OK, lasts=1):
    returned = None if ending is UNKNOWN else at + lasts
    return Operation(client, kind, key, value, result, at, returned, ending)


# ------------------------------------------------------------------------------------------- delivery


def sent(value, at, **more):
    return op("p", "send", value, at=at, **more)


def got(value, at, client="c", **more):
    return op(client, "receive", result=value, at=at, **more)


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([sent(1, 0), got(1, 2)], ()),
        ([sent(1, 0), sent(2, 2), got(1, 4)], ("lost",)),
        ([sent(1, 0)], ("lost",)),
        ([sent(1, 0), got(1, 2), got(1, 4, "d")], ("duplicated",)),
        ([sent(1, 0), got(1, 2), got(9, 4)], ("never sent",)),
        ([sent(1, 0), sent(2, 2, ending=FAILED), got(1, 4), got(2, 6)], ("failed but delivered",)),
        ([got(1, 0), sent(1, 5)], ("received before sent",)),
        ([sent(1, 0), sent(2, 2), got(2, 4), got(1, 6)], ("reordered",)),
    ],
)
def test_exactly_once_in_order_names_what_went_wrong(rows, names):
    assert delivery(History(rows), EXACTLY_ONCE, ordered=True).names == names


def test_each_guarantee_forbids_its_own_anomaly():
    lost, twice = [sent(1, 0), sent(2, 2), got(1, 4)], [sent(1, 0), got(1, 2), got(1, 4)]
    assert delivery(History(lost), AT_MOST_ONCE) and not delivery(History(lost), AT_LEAST_ONCE)
    assert delivery(History(twice), AT_LEAST_ONCE) and not delivery(History(twice), AT_MOST_ONCE)


def test_a_send_without_an_answer_may_arrive_or_not():
    maybe = sent(2, 2, ending=UNKNOWN)
    assert delivery(History([sent(1, 0), maybe, got(1, 4)]))
    assert delivery(History([sent(1, 0), maybe, got(1, 4), got(2, 6)]))


def test_order_is_kept_for_each_key_and_sends_that_overlap_have_none():
    other_key = [sent(1, 0), sent(2, 2, key="l"), got(2, 4, key="l"), got(1, 6)]
    assert delivery(History(other_key), ordered=True)
    overlap = [op("p", "send", 1, at=0, lasts=9), op("q", "send", 2, at=1, lasts=9), got(2, 20), got(1, 22)]
    assert delivery(History(overlap), ordered=True)


def test_a_redelivered_message_is_not_out_of_order():
    rows = [sent(1, 0), sent(2, 2), got(1, 4), got(2, 6), got(1, 8)]
    assert delivery(History(rows), AT_LEAST_ONCE, ordered=True)


def test_every_subscriber_is_to_get_every_message_if_asked_for():
    rows = [sent(1, 0), sent(2, 2), got(1, 4), got(2, 6), got(1, 4, "d")]
    assert delivery(History(rows), AT_LEAST_ONCE)
    finding = delivery(History(rows), each=True)
    assert finding.names == ("lost",) and "by d" in finding.summary


def test_before_the_receivers_are_done_nothing_is_called_lost():
    assert delivery(History([sent(1, 0)]), drained=False).result is Result.UNKNOWN
    assert delivery(History([])).result is Result.UNKNOWN


# ------------------------------------------------------------------------------------------- order of deliveries


@pytest.mark.parametrize(
    ("b", "fifo", "causal", "total"),
    [
        ([("deliver", 1), ("deliver", 2)], True, True, True),
        ([("deliver", 2), ("deliver", 1)], False, False, False),
        ([("deliver", 2)], True, True, True),
    ],
)
def test_one_senders_messages_in_their_order(b, fifo, causal, total):
    events = {"a": [("send", 1), ("send", 2), ("deliver", 1), ("deliver", 2)], "b": b}
    for order, expected in (("fifo", fifo), ("causal", causal), ("total", total)):
        assert bool(ordering(events, order)) is expected, order


def test_a_reply_before_its_question_breaks_causal_order_alone():
    events = {
        "a": [("send", "q"), ("deliver", "r")],
        "b": [("deliver", "q"), ("send", "r")],
        "c": [("deliver", "r"), ("deliver", "q")],
    }
    assert ordering(events, "fifo")
    finding = ordering(events, "causal")
    assert finding.names == ("causal order broken",) and "'r' before 'q'" in finding.summary


def test_two_orders_break_total_order_alone():
    one, two = [("send", 1), ("deliver", 1), ("deliver", 2)], [("send", 2), ("deliver", 2), ("deliver", 1)]
    assert ordering({"a": one, "b": two}, "causal")
    assert ordering({"a": one, "b": two}, "total").names == ("total order broken",)


def test_a_message_from_nowhere_and_one_twice():
    assert ordering({"a": [("deliver", 1)]}).names == ("never sent",)
    assert ordering({"a": [("send", 1)], "b": [("deliver", 1), ("deliver", 1)]}).names == ("duplicated",)
    assert ordering({"a": [("send", 1)]}).result is Result.UNKNOWN


# ------------------------------------------------------------------------------------------- convergence


def add(value, at, client="a", **more):
    return op(client, "add", value, at=at, key=None, **more)


def read(result, at, client="a"):
    return op(client, "read", result=result, at=at, key=None)


@pytest.mark.parametrize(
    ("rows", "result", "names"),
    [
        ([add(1, 0), read([1], 2)], "ok", ()),
        ([add(1, 0), read([], 2), read([1], 4)], "ok", ()),
        ([add(1, 0), read([1], 2), read([], 4)], "violation", ("lost",)),
        ([add(1, 0), read([], 2)], "violation", ("lost",)),
        ([add(1, 0), read([1, 7], 2)], "violation", ("never added",)),
        ([add(1, 0), read([1, 1], 2)], "violation", ("duplicated",)),
        ([add(1, 0)], "unknown", ()),
        ([add(1, 0), add(2, 0, "b", ending=UNKNOWN), read([1], 2)], "ok", ()),
        ([add(1, 0, ending=UNKNOWN), read([1], 2), read([], 4)], "violation", ("lost",)),
    ],
)
def test_broadcast_loses_nothing_that_was_known(rows, result, names):
    finding = broadcast(History(rows))
    assert (finding.result.value, finding.names) == (result, names)


def test_broadcast_counts_what_came_late():
    details = broadcast(History([add(1, 0), read([], 3, "b"), read([1], 9, "b")])).details
    assert details["stale"] == 1 and details["stable latency"][1] == 2


def test_last_reads_agree_on_all_that_was_acknowledged():
    adds = [add(1, 0), add(2, 2, ending=UNKNOWN)]
    assert final_reads(History([*adds, read([1, 2], 5), read([2, 1], 5, "b")]))
    assert final_reads(History([*adds, read([1, 2], 5), read([1], 5, "b")])).names == ("diverged",)
    assert final_reads(History([*adds, read([2], 5)])).names == ("missing",)
    assert final_reads(History([*adds, read([1, 3], 5)])).names == ("never added",)
    assert final_reads(History(adds)).result is Result.UNKNOWN


@pytest.mark.parametrize(("total", "fine"), [(5, True), (2, True), (9, True), (3, False), (10, False), (0, False)])
def test_a_counters_last_reads_are_sums_of_acknowledged_and_some_unanswered(total, fine):
    rows = [add(5, 0), add(4, 0, "b", ending=UNKNOWN), add(-3, 0, "c", ending=UNKNOWN), add(9, 0, "d", ending=FAILED)]
    assert bool(counter_total(History([*rows, read(total, 5)]))) is fine
    assert bool(counter_total(History([*rows, read(99, 0, "e"), read(5, 5, "e")])))


# ------------------------------------------------------------------------------------------- ids and elections


def test_an_id_is_handed_out_once():
    def generate(client, result, at, **more):
        return op(client, "generate", result=result, at=at, **more)

    assert unique_ids(History([generate("a", 1, 0), generate("b", "1", 0), generate("c", True, 0)]))
    assert unique_ids(History([generate("a", [1, 2], 0), generate("b", [1, 2], 0)])).names == ("duplicate id",)
    assert unique_ids(History([generate("a", 1, 0), generate("b", 1, 0, ending=UNKNOWN)]))
    assert unique_ids(History()).result is Result.UNKNOWN


def test_a_term_has_one_leader_who_may_say_so_twice():
    assert election_safety([("n1", 1), ("n1", 1), ("n2", 2)])
    finding = election_safety([Claim("n1", 1, 10), Claim("n2", 1, 20)])
    assert finding.names == ("two leaders",)
    assert finding.anomalies[0].reasons == ("n1 led term 1 at 10.", "n2 led term 1 at 20.")
    assert election_safety([]).result is Result.UNKNOWN


# ------------------------------------------------------------------------------------------- applied logs


def test_logs_agree_where_both_have_an_entry():
    assert log_agreement({"a": [1, 2, 3], "b": [1, 2], "c": []})
    assert log_agreement({"a": [1, 2, 3], "b": {2: 3}})
    finding = log_agreement({"a": [1, 2], "b": {1: 9}})
    assert finding.names == ("different entries",) and finding.anomalies[0].key == 1
    assert log_agreement({"a": []}).result is Result.UNKNOWN


@pytest.mark.parametrize(
    ("log", "names"),
    [
        ([1, 2], ()),
        ([1, 2, 3], ()),
        ([None, 1, 2], ()),
        ([1], ("lost",)),
        ([1, 2, 7], ("never asked for",)),
        ([1, 2, 1], ("applied twice",)),
        ([2, 1], ("out of order",)),
        ([1, 2, 4], ("failed but applied",)),
    ],
)
def test_clients_were_told_what_the_log_says(log, names):
    history = History(
        [
            op("a", "write", 1, at=0),
            op("a", "write", 2, at=2),
            op("b", "write", 3, at=3, ending=UNKNOWN),
            op("c", "write", 4, at=3, ending=FAILED),
            op("d", "read", result=1, at=9),
        ]
    )
    assert log_agreement({"n1": log}, history).names == names


def test_one_changed_entry_in_many_is_found_wherever_it_is():
    draw = random.Random(3)
    for _ in range(50):
        logs = {node: list(range(draw.randrange(1, 30))) for node in "abc"}
        assert log_agreement(logs)
        logs["a"] = list(range(30))
        node, place = "b", draw.randrange(len(logs["b"]))
        logs[node][place] = "spoilt"
        assert log_agreement(logs).anomalies[0].key == place
