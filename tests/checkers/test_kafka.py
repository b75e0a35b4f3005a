"""Partitioned logs: each anomaly by its name, and what Kafka allows."""

from __future__ import annotations

import pytest

from labsupport.checkers.finding import Result
from labsupport.checkers.kafka import partitioned_log
from labsupport.history import Ending, History, Operation


def send(value, offset, at, client="p", ending=Ending.OK):
    return Operation(client, "send", "k", value, offset, at, None if ending is Ending.UNKNOWN else at + 1, ending)


def poll(at, *pairs, client="c"):
    return Operation(client, "poll", None, None, {"k": [list(pair) for pair in pairs]}, at, at + 1)


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([send(10, 0, 0), send(11, 1, 2), poll(4, (0, 10), (1, 11))], ()),
        ([send(10, 0, 0), send(11, 1, 2), poll(4, (0, 10))], ()),
        ([send(10, 0, 0), send(11, 1, 2), poll(4, (1, 11))], ("lost write",)),
        ([send(10, 0, 0), send(11, 5, 2), poll(4, (0, 10), (5, 11))], ()),
        (
            [send(10, 0, 0), poll(4, (0, 10)), poll(6, (0, 12), client="d"), send(12, 0, 0, "q")],
            ("inconsistent offsets",),
        ),
        ([send(10, 0, 0), poll(4, (0, 10), (1, 10))], ("duplicate",)),
        ([poll(4, (0, 10))], ("never sent",)),
        ([send(10, None, 0, ending=Ending.FAILED), poll(4, (0, 10))], ("aborted read",)),
        ([send(10, None, 0, ending=Ending.UNKNOWN), poll(4, (0, 10))], ()),
        ([poll(0, (0, 10)), send(10, 0, 5)], ("read before sent",)),
        ([send(10, 0, 0), send(11, 1, 2), poll(4, (0, 10), (1, 11)), poll(6, (0, 10))], ("nonmonotonic poll",)),
        (
            [send(10, 0, 0), send(11, 1, 2), send(12, 2, 4), poll(6, (0, 10), (2, 12)), poll(8, (1, 11), client="d")],
            ("poll skip",),
        ),
        ([send(10, 1, 0), send(11, 0, 2), poll(4, (0, 11), (1, 10))], ("nonmonotonic send",)),
    ],
)
def test_an_anomaly_of_a_partitioned_log_is_called_by_its_name(rows, names):
    finding = partitioned_log(History(rows))
    assert finding.names == names
    assert all(anomaly.operations and anomaly.summary for anomaly in finding.anomalies)


def test_after_an_assignment_a_client_may_read_again():
    again = Operation("c", "assign", None, ["k"], None, 6, 7)
    rows = [send(10, 0, 0), poll(4, (0, 10)), again, poll(8, (0, 10))]
    assert partitioned_log(History(rows))


def test_without_polls_nothing_can_be_said():
    assert partitioned_log(History([send(10, 0, 0)])).result is Result.UNKNOWN


def test_what_was_acknowledged_and_not_polled_in_the_end_is_unseen_only_if_there_was_an_end():
    history = History(
        [
            Operation("p", "send", key="k", value=1, result=0, called=0, returned=1),
            Operation("p", "send", key="k", value=2, result=1, called=2, returned=3),
            Operation("p", "send", key="k", value=3, called=4, ending=Ending.UNKNOWN),
            Operation("c", "poll", result={"k": [[0, 1]]}, called=5, returned=6),
        ]
    )
    assert partitioned_log(history)
    assert partitioned_log(history, complete=True).names == ("unseen",)
