"""Linearizability: hand-written anomalies, agreement with all orders, certificates, budgets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labsupport.checkers import chains, configurations, depth_first, zones
from labsupport.checkers.finding import Result
from labsupport.checkers.linearizability import linearizable
from labsupport.checkers.models import IMPOSSIBLE, AppendStore, Model, Queue, Register
from labsupport.checkers.register import entries
from labsupport.history import Ending, History, Operation

seeds = st.integers(min_value=0, max_value=2**32)


# ------------------------------------------------------------------------------------------- anomalies by name


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("never written", [("a", "write", 1, None, 0, 1), ("b", "read", None, 9, 2, 3)]),
        ("read before written", [("b", "read", None, 1, 0, 1), ("a", "write", 1, None, 2, 3)]),
        (
            "stale read",
            [("a", "write", 1, None, 0, 1), ("a", "write", 2, None, 2, 3), ("b", "read", None, 1, 4, 5)],
        ),
        ("lost write", [("a", "write", 1, None, 0, 1), ("b", "read", None, None, 2, 3)]),
        (
            "new then old",
            [
                ("a", "write", 1, None, 0, 1),
                ("a", "write", 2, None, 2, 20),
                ("b", "read", None, 2, 3, 4),
                ("c", "read", None, 1, 5, 6),
            ],
        ),
        (
            "split view",
            [
                ("a", "write", 1, None, 0, 20),
                ("b", "write", 2, None, 0, 20),
                ("c", "read", None, 1, 1, 2),
                ("c", "read", None, 2, 3, 4),
                ("c", "read", None, 1, 5, 6),
                ("c", "read", None, 2, 7, 8),
            ],
        ),
        (
            "double cas",
            [("a", "write", 1, None, 0, 1), ("a", "cas", (1, 2), True, 2, 3), ("b", "cas", (1, 3), True, 2, 3)],
        ),
        ("cas cycle", [("a", "cas", (1, 2), True, 0, 9), ("b", "cas", (2, 1), True, 0, 9)]),
        (
            "order",
            [
                ("a", "write", 1, None, 0, 1),
                ("b", "cas", (1, 2), True, 2, 3),
                ("b", "cas", (2, 3), True, 4, 5),
                ("c", "read", None, 1, 6, 7),
            ],
        ),
    ],
)
def test_an_anomaly_is_called_by_its_name(told, name, rows):
    finding = linearizable(told(*rows))
    assert finding.result is Result.VIOLATION
    assert finding.names == (name,)
    assert finding.anomalies[0].summary and finding.anomalies[0].picture
    assert len(finding.anomalies[0].operations) <= len(rows)


def test_values_that_repeat_are_searched_and_the_possible_ones_named(told):
    history = told(
        ("a", "write", 1, None, 0, 1), ("a", "write", 2, None, 2, 3), ("a", "write", 1, None, 4, 5),
        ("b", "read", None, 2, 6, 7),
    )  # fmt: skip
    finding = linearizable(history)
    assert finding.details["algorithms"] == ["configurations"]
    (anomaly,) = finding.anomalies
    assert anomaly.name == "stale read" and anomaly.reasons[-1] == "Possible values here: 1."
    assert [op.value for op in anomaly.operations] == [2, 1, None]


def test_overlapping_operations_may_go_either_way(told):
    overlap = [("a", "write", 1, None, 0, 9), ("b", "write", 2, None, 0, 9)]
    for seen in (1, 2):
        assert linearizable(told(*overlap, ("c", "read", None, seen, 10, 11)))


def test_operations_that_touch_at_one_instant_are_concurrent(told):
    assert linearizable(told(("a", "write", 1, None, 0, 5), ("b", "read", None, None, 5, 6)))
    assert not linearizable(told(("a", "write", 1, None, 0, 5), ("b", "read", None, None, 6, 7)))


# ------------------------------------------------------------------------------------------- endings


def test_a_write_without_an_answer_may_take_effect_late_or_never(told):
    lost = ("a", "write", 1, None, 0, None)
    assert linearizable(told(lost, ("b", "read", None, None, 5, 6), ("b", "read", None, 1, 7, 8)))
    assert linearizable(told(lost, ("b", "read", None, None, 5, 6), ("b", "read", None, None, 7, 8)))
    assert not linearizable(told(lost, ("b", "read", None, 1, 5, 6), ("b", "read", None, None, 7, 8)))


def test_a_failed_write_must_not_be_seen(told):
    failed = Operation("a", "write", value=1, called=0, returned=1, ending=Ending.FAILED)
    seen = Operation("b", "read", result=1, called=2, returned=3)
    assert linearizable(History([failed, seen])).names == ("never written",)
    assert linearizable(History([failed]))


def test_a_failed_compare_and_set_has_seen_another_value(told):
    refused = ("b", "cas", (1, 2), False, 2, 3)
    assert not linearizable(told(("a", "write", 1, None, 0, 1), refused))
    assert linearizable(told(("a", "write", 3, None, 0, 1), refused))


def test_a_timed_out_cas_whose_value_was_not_seen_may_still_explain_a_refused_one(told):
    history = told(
        ("a", "write", 1, None, 0, 1), ("a", "cas", (1, 2), None, 2, None), ("b", "cas", (1, 3), False, 4, 5),
    )  # fmt: skip
    assert linearizable(history)


# ------------------------------------------------------------------------------------------- keys and values


def test_keys_are_independent_and_the_smallest_certificate_comes_first():
    def on(key, *rows):
        return [
            Operation(f"{key}{client}", kind, key, value, result, *when) for client, kind, value, result, *when in rows
        ]

    good = on("x", ("a", "write", 1, None, 0, 1), ("b", "read", None, 1, 2, 3))
    stale = on("y", ("a", "write", 1, None, 0, 1), ("a", "write", 2, None, 2, 3), ("b", "read", None, 1, 4, 5))
    strange = on("z", ("b", "read", None, 7, 0, 1))
    assert linearizable(History(good))
    finding = linearizable(History([*good, *stale, *strange]))
    assert [(anomaly.key, anomaly.name) for anomaly in finding.anomalies] == [
        ("z", "never written"),
        ("y", "stale read"),
    ]


@pytest.mark.parametrize(("written", "read"), [(1, True), (1, 1.0), (1, "1"), ([1], [True]), (0, None)])
def test_values_that_only_python_takes_for_equal_are_different(told, written, read):
    assert linearizable(told(("a", "write", written, None, 0, 1), ("b", "read", None, written, 2, 3)))
    assert not linearizable(told(("a", "write", written, None, 0, 1), ("b", "read", None, read, 2, 3)))


def test_a_tuple_is_a_list_once_it_went_through_json(told):
    assert linearizable(told(("a", "write", (1, 2), None, 0, 1), ("b", "read", None, [1, 2], 2, 3)))


# ------------------------------------------------------------------------------------------- agreement


def _draw_register(reference, seed):
    draw = random.Random(seed)
    return reference.random_register(
        draw,
        size=draw.randrange(2, 9),
        unique=draw.random() < 0.4,
        cas=draw.choice((0, 0, 0.3, 0.6)),
        crashed=draw.choice((0, 0.2, 0.3, 0.4)),
        clients=draw.choice((2, 3, 4)),
    )


@settings(max_examples=500, deadline=None)
@given(seed=seeds)
def test_every_algorithm_for_registers_agrees_with_all_orders(reference, seed):
    history = _draw_register(reference, seed)
    truth = reference.brute_force(history, None, reference.register)
    made = entries(history)
    for algorithm in (zones.decide(made, None), chains.decide(made, None)):
        assert algorithm.ok in (truth, None)
    assert configurations.decide(made, None, budget=10**6).ok is truth
    assert depth_first.search(history, Register(), budget=10**6).ok is truth
    assert bool(linearizable(history)) is truth


def test_the_random_histories_reach_every_algorithm_and_both_verdicts(reference):
    seen = set()
    for seed in range(400):
        finding = linearizable(_draw_register(reference, seed))
        seen.add((finding.details["algorithms"][0], finding.result.value))
    assert seen == {(name, result) for name in ("zones", "chains", "configurations") for result in ("ok", "violation")}


@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_a_certificate_is_a_violation_by_itself(reference, seed):
    finding = linearizable(_draw_register(reference, seed))
    for anomaly in finding.anomalies:
        assert not reference.brute_force(History(anomaly.operations), None, reference.register)


@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_a_witness_is_legal_and_keeps_the_order_in_time(reference, seed):
    history = _draw_register(reference, seed)
    finding = linearizable(history, witness=True)
    state, latest = None, float("-inf")
    for operation in finding.witness:
        (state,) = reference.register(state, operation)
        assert operation.returned is None or operation.returned >= latest
        latest = max(latest, operation.called)
    if finding.witness:
        answered = {id(op) for op in history if op.ending is Ending.OK}
        assert answered <= {id(op) for op in finding.witness}


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_a_wider_interval_never_makes_a_violation(reference, seed):
    history = _draw_register(reference, seed)
    draw = random.Random(seed)
    wider = [
        Operation(place, op.kind, op.key, op.value, op.result, op.called - draw.randrange(3),
                  None if op.returned is None else op.returned + draw.randrange(3), op.ending)
        for place, op in enumerate(history)
    ]  # fmt: skip
    if linearizable(history):
        assert linearizable(History(wider))


# ------------------------------------------------------------------------------------------- size, budget, models


def test_one_stale_read_among_thousands_leaves_a_certificate_of_a_few_operations(reference):
    draw = random.Random(5)
    operations, clock, last = [], 0, None
    for number in range(3000):
        clock += 2
        if draw.random() < 0.5:
            last = number % 5
            operations.append(Operation("a", "write", value=last, called=clock, returned=clock + 1))
        else:
            operations.append(Operation("b", "read", result=last, called=clock, returned=clock + 1))
    operations.append(Operation("b", "read", result=(last + 1) % 5, called=clock + 3, returned=clock + 4))
    (anomaly,) = linearizable(History(operations)).anomalies
    assert len(anomaly.operations) <= 8
    assert anomaly.operations[-1].called == clock + 3


def test_a_wrong_read_between_five_busy_clients_leaves_a_certificate_of_a_few_operations(reference):
    draw, sizes = random.Random(11), []
    for _ in range(100):
        history = reference.random_register(draw, size=200, unique=False, cas=0.2, crashed=0, clients=5)
        for anomaly in linearizable(history).anomalies:
            assert not linearizable(History(anomaly.operations))
            if anomaly.name != "never written":
                sizes.append(len(anomaly.operations))
    assert len(sizes) > 15
    assert sorted(sizes)[len(sizes) // 2] <= 4 and max(sizes) <= 20


def test_a_search_that_runs_out_of_budget_says_unknown():
    many = [Operation(n, "cas", value=(n % 3, (n + 1) % 3), called=0, ending=Ending.UNKNOWN) for n in range(12)]
    many += [Operation(f"w{n}", "write", value=n % 3, called=1, returned=9) for n in range(9)]
    many += [Operation(f"r{n}", "read", result=n % 3, called=2, returned=8) for n in range(9)]
    finding = linearizable(History(many), budget=3)
    assert finding.result is Result.UNKNOWN and not finding
    assert "stopped" in finding.summary


def test_a_violation_elsewhere_outweighs_an_undecided_part():
    hard = [Operation(n, "write", key="hard", value=n % 2, called=0, returned=9) for n in range(10)]
    wrong = [Operation("z", "read", key="wrong", result=4, called=0, returned=1)]
    assert linearizable(History([*hard, *wrong]), budget=1).result is Result.VIOLATION


class Lamp(Model):
    """A model of a test's own."""

    looks = frozenset({"look"})

    def step(self, state, operation):
        if operation.kind == "switch":
            return not state
        return state if operation.result == state else IMPOSSIBLE


def test_any_model_can_be_checked(told):
    switch = ("a", "switch", None, None, 0, 1)
    assert linearizable(told(switch, ("b", "look", None, True, 2, 3)), Lamp(False))
    finding = linearizable(told(switch, ("b", "look", None, False, 2, 3)), Lamp(False))
    assert finding.result is Result.VIOLATION and finding.details["algorithms"] == ["depth first"]


def test_appended_texts_are_checked_and_the_lost_one_is_in_the_certificate(told):
    good = [("a", "append", "x", None, 0, 1), ("b", "append", "y", None, 2, 3)]
    assert linearizable(told(*good, ("c", "get", None, "xy", 4, 5)), AppendStore())
    finding = linearizable(told(*good, ("c", "get", None, "y", 4, 5)), AppendStore())
    assert [op.value for op in finding.anomalies[0].operations if op.kind == "append"] == ["x", "y"]


def test_a_queue_that_swaps_two_values_is_caught(told):
    rows = [("a", "enqueue", 1, None, 0, 1), ("a", "enqueue", 2, None, 2, 3)]
    assert linearizable(told(*rows, ("b", "dequeue", None, 1, 4, 5)), Queue())
    assert not linearizable(told(*rows, ("b", "dequeue", None, 2, 4, 5)), Queue())
