"""Queues, sets, counters and logs without search: anomalies by name, and agreement with a search through all orders."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labsupport.checkers import depth_first
from labsupport.checkers.linearizability import linearizable
from labsupport.checkers.models import AppendStore, Counter, Log, Queue, Set
from labsupport.history import History

NAMES = ("queue", "set", "grow-only set", "counter", "log")


def history_of(reference, name, seed):
    draw = random.Random(f"{name} {seed}")
    return reference.random_object(draw, name, size=draw.randrange(3, 9), crashed=draw.choice((0, 0.2, 0.4)))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_an_object_is_judged_as_by_a_search_through_all_orders(reference, name, seed):
    history, model = history_of(reference, name, seed)
    truth = reference.brute_force(history, model.initial, reference.steps_of(model))
    finding = linearizable(history, model)
    assert bool(finding) is truth
    assert depth_first.search(history, model, budget=10**6).ok is truth
    for anomaly in finding.anomalies:
        assert not reference.brute_force(History(anomaly.operations), model.initial, reference.steps_of(model))


@pytest.mark.parametrize("name", NAMES)
def test_the_random_histories_of_an_object_show_both_verdicts_without_search(reference, name):
    findings = [linearizable(*history_of(reference, name, seed)) for seed in range(100)]
    assert 10 < sum(map(bool, findings)) < 90
    assert all(finding.details["algorithms"] != ["depth first"] for finding in findings)


@pytest.mark.parametrize(
    ("name", "model", "rows"),
    [
        ("never enqueued", Queue(), [("a", "dequeue", None, 1, 0, 1)]),
        (
            "dequeued twice",
            Queue(),
            [("a", "enqueue", 1, None, 0, 1), ("b", "dequeue", None, 1, 2, 3), ("c", "dequeue", None, 1, 2, 3)],
        ),
        ("dequeued before enqueued", Queue(), [("b", "dequeue", None, 1, 0, 1), ("a", "enqueue", 1, None, 2, 3)]),
        (
            "overtaken",
            Queue(),
            [("a", "enqueue", 1, None, 0, 1), ("a", "enqueue", 2, None, 2, 3), ("b", "dequeue", None, 2, 4, 5)],
        ),
        ("not empty", Queue(), [("a", "enqueue", 1, None, 0, 1), ("b", "dequeue", None, None, 2, 3)]),
        ("lost element", Set(), [("a", "add", 1, None, 0, 1), ("b", "read", None, [], 2, 3)]),
        (
            "not nested",
            Set(),
            [
                ("a", "add", 1, None, 0, 9),
                ("b", "add", 2, None, 0, 9),
                ("c", "read", None, [1], 1, 2),
                ("d", "read", None, [2], 1, 2),
            ],
        ),
        (
            "went back",
            Set(),
            [("a", "add", 1, None, 0, 9), ("c", "read", None, [1], 1, 2), ("d", "read", None, [], 3, 4)],
        ),
        ("read before added", Set(), [("c", "read", None, [1], 1, 2), ("a", "add", 1, None, 3, 9)]),
        ("never added", Set(), [("c", "read", None, [1], 1, 2)]),
        ("lost increment", Counter(), [("a", "add", 1, None, 0, 1), ("b", "read", None, 0, 2, 3)]),
        ("too many", Counter(), [("a", "add", 1, None, 0, 1), ("b", "read", None, 2, 2, 3)]),
        (
            "went back",
            Counter(5),
            [("a", "add", 1, None, 0, 9), ("b", "read", None, 6, 1, 2), ("b", "read", None, 5, 3, 4)],
        ),
        ("lost append", Log(), [("a", "append", 7, 0, 0, 1), ("b", "read", 0, None, 2, 3)]),
        (
            "two values at one offset",
            Log(),
            [("a", "append", 7, 0, 0, 1), ("b", "append", 8, 0, 0, 1)],
        ),
        (
            "one value at two offsets",
            Log(),
            [("a", "append", 7, 0, 0, 1), ("c", "read", 1, 7, 4, 5)],
        ),
        ("gap", Log(), [("a", "append", 7, 1, 0, 1)]),
        ("appends out of order", Log(), [("a", "append", 7, 1, 0, 1), ("a", "append", 8, 0, 2, 3)]),
        ("never appended", Log(), [("a", "read", 0, 7, 0, 1)]),
    ],
)
def test_an_anomaly_of_an_object_is_called_by_its_name(told, name, model, rows):
    finding = linearizable(told(*rows), model)
    assert finding.names == (name,)
    assert finding.anomalies[0].operations and finding.anomalies[0].summary.endswith(".")


def test_what_the_fast_ways_do_not_cover_is_searched(told):
    taken = [("a", "enqueue", 1, None, 0, 1), ("b", "dequeue", None, None, 2, None), ("c", "dequeue", None, None, 4, 5)]
    assert linearizable(told(*taken), Queue()).details["algorithms"] == ["depth first"]
    weighted = [("a", "add", 3, None, 0, 1), ("b", "read", None, 3, 2, 3)]
    assert linearizable(told(*weighted), Counter())
    assert not linearizable(told(*weighted[:1], ("b", "read", None, 2, 2, 3)), Counter())
    mixed = [("a", "add", 1, None, 0, 1), ("a", "remove", 1, None, 2, 3), ("b", "read", None, [], 4, 5)]
    assert linearizable(told(*mixed), Set())


@pytest.mark.parametrize("model", [Queue(), Set(), Counter(), Log(), AppendStore()])
def test_an_empty_history_is_linearizable(model):
    assert linearizable(History(), model)
