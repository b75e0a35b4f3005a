"""Isolation of transactions: each anomaly by its name, and agreement with a search through all orders."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labsupport.checkers.finding import Result
from labsupport.checkers.transactions import FORBIDDEN, transactions
from labsupport.errors import LearnerError
from labsupport.history import Ending, History, Operation


def txn(client, steps, *when, ending=Ending.OK):
    """A transaction from steps as they were answered: ("r", "x", [1]), ("append", "x", 2)."""
    asked = [[what, key, None if what == "r" else value] for what, key, value in steps]
    called, returned = when if len(when) == 2 else (when[0], None)
    result = [list(step) for step in steps] if ending is Ending.OK else None
    return Operation(client, "txn", None, asked, result, called, returned, ending)


def r(key, value):
    return ("r", key, value)


def a(key, value):
    return ("append", key, value)


def w(key, value):
    return ("w", key, value)


LIST_APPEND = {
    "G0": [
        txn("a", [a("x", 1), a("y", 1)], 0, 9),
        txn("b", [a("x", 2), a("y", 2)], 0, 9),
        txn("c", [r("x", [1, 2]), r("y", [2, 1])], 0, 9),
    ],
    "G1a": [txn("a", [a("x", 1)], 0, 1, ending=Ending.FAILED), txn("b", [r("x", [1])], 2, 3)],
    "G1b": [txn("a", [a("x", 1), a("x", 2)], 0, 9), txn("b", [r("x", [1])], 0, 9)],
    "G1c": [txn("a", [a("x", 1), r("y", [1])], 0, 9), txn("b", [a("y", 1), r("x", [1])], 0, 9)],
    "G-single": [
        txn("a", [a("x", 1), a("y", 1)], 0, 9),
        txn("b", [r("x", [1]), r("y", [])], 0, 9),
        txn("c", [r("y", [1])], 10, 11),
    ],
    "G2": [
        txn("a", [r("x", []), a("y", 1)], 0, 9),
        txn("b", [r("y", []), a("x", 1)], 0, 9),
        txn("c", [r("x", [1]), r("y", [1])], 10, 11),
    ],
    "G-single-process": [
        txn("a", [a("x", 1)], 0, 1),
        txn("a", [r("x", [])], 2, 3),
        txn("b", [r("x", [1])], 4, 5),
    ],
    "G-single-realtime": [txn("a", [a("x", 1)], 0, 1), txn("b", [r("x", [])], 2, 3), txn("c", [r("x", [1])], 4, 5)],
    "internal": [txn("a", [a("x", 1), r("x", [])], 0, 1)],
    "incompatible order": [
        txn("a", [a("x", 1)], 0, 9),
        txn("b", [a("x", 2)], 0, 9),
        txn("c", [r("x", [1, 2])], 0, 9),
        txn("d", [r("x", [2, 1])], 0, 9),
    ],
    "duplicate elements": [txn("a", [a("x", 1)], 0, 1), txn("b", [r("x", [1, 1])], 2, 3)],
    "never written": [txn("b", [r("x", [7])], 2, 3)],
}

RW_REGISTER = {
    "G1a": [txn("a", [w("x", 1)], 0, 1, ending=Ending.FAILED), txn("b", [r("x", 1)], 2, 3)],
    "G1b": [txn("a", [w("x", 1), w("x", 2)], 0, 9), txn("b", [r("x", 1)], 0, 9)],
    "G1c": [txn("a", [w("x", 1), r("y", 1)], 0, 9), txn("b", [w("y", 1), r("x", 1)], 0, 9)],
    "G-single": [txn("a", [w("x", 1), w("y", 1)], 0, 9), txn("b", [r("x", 1), r("y", None)], 0, 9)],
    "G2": [txn("a", [r("x", None), w("y", 1)], 0, 9), txn("b", [r("y", None), w("x", 1)], 0, 9)],
    "lost update": [txn("a", [r("x", None), w("x", 1)], 0, 9), txn("b", [r("x", None), w("x", 2)], 0, 9)],
    "cyclic versions": [txn("a", [r("x", 2), w("x", 1)], 0, 9), txn("b", [r("x", 1), w("x", 2)], 0, 9)],
    "internal": [txn("a", [w("x", 1), r("x", None)], 0, 1)],
    "never written": [txn("a", [r("x", 5)], 0, 1)],
}

# The strongest model that still allows each anomaly; None where the weakest forbids it.
ALLOWED_BY = {
    "G0": None, "never written": None, "incompatible order": None, "duplicate elements": None,
    "G1a": "read-uncommitted", "G1b": "read-uncommitted", "G1c": "read-uncommitted",
    "cyclic versions": "read-uncommitted", "G-single": "read-committed", "internal": "read-committed",
    "lost update": "read-committed", "G2": "snapshot-isolation", "G-single-process": "serializable",
    "G-single-realtime": "strong-session-serializable",
}  # fmt: skip
MODELS = list(FORBIDDEN)


def cases():
    for workload, table in (("list-append", LIST_APPEND), ("rw-register", RW_REGISTER)):
        for name, operations in table.items():
            yield pytest.param(workload, name, operations, id=f"{workload} {name}")


@pytest.mark.parametrize(("workload", "name", "operations"), list(cases()))
def test_an_anomaly_is_named_and_forbidden_from_the_right_model_on(workload, name, operations):
    history = History(operations)
    allowed = MODELS.index(ALLOWED_BY[name]) if ALLOWED_BY[name] else -1
    for place, model in enumerate(MODELS):
        finding = transactions(history, workload, model)
        assert (name in finding.names) is (place > allowed), (model, finding)
        if place > allowed:
            anomaly = next(anomaly for anomaly in finding.anomalies if anomaly.name == name)
            assert finding.result is Result.VIOLATION
            assert 1 <= len(anomaly.operations) <= 3 and anomaly.summary
    if allowed >= 0:
        assert name in transactions(history, workload, MODELS[allowed]).details["tolerated"]


@pytest.mark.parametrize("model", MODELS)
def test_transactions_one_after_the_other_are_fine_under_every_model(model):
    lists = [
        txn("a", [a("x", 1), r("x", [1])], 0, 1),
        txn("b", [r("x", [1]), a("x", 2), a("y", 1)], 2, 3),
        txn("a", [r("x", [1, 2]), r("y", [1])], 4, 5),
    ]
    registers = [txn("a", [w("x", 1)], 0, 1), txn("b", [r("x", 1), w("x", 2)], 2, 3), txn("a", [r("x", 2)], 4, 5)]
    assert transactions(History(lists), "list-append", model)
    assert transactions(History(registers), "rw-register", model)


def test_an_unanswered_transaction_counts_exactly_if_it_was_seen():
    lost = txn("a", [a("x", 1), a("y", 1)], 0, ending=Ending.UNKNOWN)
    assert transactions(History([lost, txn("b", [r("x", []), r("y", [])], 5, 6)]))
    assert transactions(History([lost, txn("b", [r("x", []), r("y", [])], 5, 6), txn("c", [r("x", [1])], 7, 8)]))
    torn = [lost, txn("b", [r("x", [1]), r("y", [])], 5, 6), txn("c", [r("y", [1])], 7, 8)]
    assert transactions(History(torn), model="snapshot-isolation").names == ("G-single",)


def test_nothing_committed_is_unknown():
    history = History([txn("a", [a("x", 1)], 0, ending=Ending.UNKNOWN)])
    assert transactions(history).result is Result.UNKNOWN


def test_a_workload_that_writes_a_value_twice_is_refused():
    with pytest.raises(LearnerError, match="twice"):
        transactions(History([txn("a", [a("x", 1)], 0, 1), txn("b", [a("x", 1)], 0, 1)]))
    with pytest.raises(LearnerError, match="strict-serializable"):
        transactions(History(), model="serialisable")


# ------------------------------------------------------------------------------------------- agreement


def random_transactions(draw: random.Random, lists: bool) -> History:
    """Transactions on two keys, run one by one at their returns, some on an old state; then every key is read."""
    clock, states, running, operations = 0, [{}], {}, []
    value, started = 0, 0
    count = draw.randrange(2, 6)
    while started < count or running:
        clock += 1
        client = draw.randrange(3)
        if client not in running:
            if started < count:
                started += 1
                running[client] = clock
            continue
        state = dict(states[-1] if draw.random() < 0.75 else draw.choice(states))
        newest = dict(states[-1])
        steps = []
        for _ in range(draw.randrange(1, 4)):
            key = draw.choice("xy")
            if draw.random() < 0.5:
                seen = state.get(key, () if lists else None)
                steps.append(r(key, list(seen) if lists else seen))
            else:
                value += 1
                steps.append((a if lists else w)(key, value))
                state[key] = (*state.get(key, ()), value) if lists else value
                newest[key] = (*newest.get(key, ()), value) if lists else value
        states.append(newest)
        operations.append(txn(client, steps, running.pop(client), clock))
    last = [r(key, list(states[-1].get(key, ())) if lists else states[-1].get(key)) for key in "xy"]
    return History([*operations, txn("last", last, clock + 1, clock + 2)])


def run(state, operation):
    """The state after a transaction, if it can have had its result."""
    lists = dict(state)
    for what, key, value in operation.result:
        if what == "r":
            seen = lists.get(key)
            if (list(seen or ()) if isinstance(value, list) else seen) != value:
                return []
        else:
            lists[key] = (*lists.get(key, ()), value) if what == "append" else value
    return [tuple(sorted(lists.items()))]


def without_time(history: History) -> History:
    return History(Operation(n, op.kind, None, op.value, op.result, 0, 1) for n, op in enumerate(history))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_lists_read_to_the_end_are_judged_as_by_a_search_through_all_orders(reference, seed):
    history = random_transactions(random.Random(seed), lists=True)
    assert bool(transactions(history)) is reference.brute_force(history, (), run)
    serial = without_time(history)
    assert bool(transactions(serial, model="serializable")) is reference.brute_force(serial, (), run)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_registers_raise_no_false_alarm(reference, seed):
    history = random_transactions(random.Random(seed), lists=False)
    if reference.brute_force(history, (), run):
        assert transactions(history, "rw-register")


def test_the_random_transactions_show_both_verdicts_and_many_anomalies():
    names, fine = set(), 0
    for seed in range(300):
        finding = transactions(random_transactions(random.Random(seed), lists=True))
        names.update(finding.names)
        fine += bool(finding)
    assert 30 < fine < 270
    assert names >= {"G-single", "G2", "G-single-realtime"}
