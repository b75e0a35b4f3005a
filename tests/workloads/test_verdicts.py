"""Every workload against programs that are right and programs that are wrong, as real processes: each gets its due.

Goal: no verdict is trusted that was not seen both ways. Method: short runs of the programs in nodes/, whose one
argument names the mistake that they make.
"""

from __future__ import annotations

import pathlib
import re
import sys

import pytest

from labsupport.workloads import Setting
from labsupport.workloads.conduct import conduct
from labsupport.workloads.kafka import Kafka
from labsupport.workloads.workload import Workload

NODES = pathlib.Path(__file__).parent / "nodes"

RIGHT = [
    ("echo", "echo", 2),
    ("unique-ids", "ids", 3),
    ("broadcast", "broadcast", 3),
    ("g-set", "sets", 3),
    ("g-counter", "counters", 3),
    ("pn-counter", "counters", 3),
    ("kafka", "logs", 1),
    ("lin-kv", "store", 2),
    ("txn-list-append", "transactions", 2),
    ("txn-rw-register", "transactions", 2),
]

# Workload, program, its flaw, how many nodes, and the names of the anomalies of which one must be found.
WRONG = [
    ("echo", "echo", "changes", 2, {"wrong echo"}),
    ("unique-ids", "ids", "counter", 3, {"duplicate id"}),
    ("broadcast", "broadcast", "alone", 3, {"missing"}),
    ("g-set", "sets", "alone", 3, {"missing"}),
    ("g-counter", "counters", "alone", 3, {"wrong total"}),
    ("pn-counter", "counters", "sums", 3, {"wrong total"}),
    ("kafka", "logs", "reuses", 1, {"inconsistent offsets"}),
    ("kafka", "logs", "loses", 1, {"lost write"}),
    ("kafka", "logs", "skips", 1, {"poll skip"}),
    ("kafka", "logs", "forgets", 1, {"unseen"}),
    ("lin-kv", "store", "alone", 2, {"stale read", "no order", "new then old", "split view", "never written"}),
    ("txn-list-append", "transactions", "alone", 2, {"incompatible order"}),
    ("txn-list-append", "transactions", "aborts", 2, {"G1a"}),
    ("txn-rw-register", "transactions", "aborts", 2, {"G1a"}),
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Clients give up soon, so that short runs see something of the time after a fault."""
    monkeypatch.setattr(Workload, "timeout_s", property(lambda self: 1.0))
    monkeypatch.setattr(Kafka, "final_limit_s", 1.5)


def run(workload: str, program: str, flaw: str = "", nodes: int = 3, seed: int = 5, **options):
    command = [sys.executable, str(NODES / f"{program}.py"), *([flaw] if flaw else [])]
    names = tuple(f"n{number}" for number in range(1, nodes + 1))
    setting = Setting(nodes=names, concurrency=2 * nodes, seed=seed)
    options = {"rate": 100, "time_limit_s": 0.8, "recovery_s": 0.6, **options}
    return conduct(command, workload, setting, **options)


@pytest.mark.parametrize(("workload", "program", "nodes"), RIGHT, ids=[row[0] for row in RIGHT])
def test_a_right_program_is_valid(workload, program, nodes):
    found = run(workload, program, nodes=nodes, rate=200).results  # of few cas perhaps none would succeed
    assert found["valid"] is True, found
    assert found["stats"]["ok"] >= 20 and found["nodes"]["problems"] == []


@pytest.mark.parametrize(
    ("workload", "program", "flaw", "nodes", "names"), WRONG, ids=[f"{row[0]}-{row[2]}" for row in WRONG]
)
def test_a_wrong_program_is_invalid_for_the_right_reason(workload, program, flaw, nodes, names):
    found = run(workload, program, flaw, nodes).results
    assert found["valid"] is False
    assert set(found["workload"]["counts"]) & names, found["workload"]["summary"]
    assert found["workload"]["anomalies"][0]["summary"] and found["nodes"]["broken"] == []


# ------------------------------------------------------------------------------------------------ faults


def test_a_broadcast_that_sends_again_survives_partitions_and_one_that_does_not_is_invalid():
    faults = {"nemesis": ["partition"], "nemesis_interval_s": 0.4, "time_limit_s": 3.0}
    good = run("broadcast", "broadcast", nodes=5, **faults)
    assert good.valid is True, good.results
    whats = [stroke["what"] for stroke in good.results["nemesis"]]
    assert whats.count("partition") >= 2 and whats[-1] == "heal"
    bad = run("broadcast", "broadcast", "once", nodes=5, **faults)
    assert bad.valid is False and "missing" in bad.results["workload"]["counts"]
    assert re.search(r"the last read of c\d+/n\d lacks \d+ ack", bad.results["workload"]["anomalies"][0]["summary"])


def test_killed_nodes_come_back_are_greeted_again_and_have_lost_what_they_kept_in_memory():
    # With this seed the node is killed once, after a second of work.
    found = run("broadcast", "broadcast", "alone", 1, 18, nemesis=["kill"], nemesis_interval_s=0.7, time_limit_s=2.4)
    assert found.valid is False and set(found.results["workload"]["counts"]) <= {"lost", "missing"}
    assert [stroke["what"] for stroke in found.results["nemesis"]] == ["kill", "restart", "heal"]
    assert found.results["nodes"]["broken"] == [] and found.logs["n1"].count("told who is next to me") == 2


def test_pauses_delay_and_harm_nobody_who_sends_again():
    found = run("broadcast", "broadcast", nodes=3, nemesis=["pause"], nemesis_interval_s=0.3, time_limit_s=2.0)
    assert found.valid is True
    assert {stroke["what"] for stroke in found.results["nemesis"]} >= {"pause", "resume"}


def test_a_program_without_the_topology_cannot_start_a_broadcast():
    found = run("broadcast", "echo", nodes=1).results
    assert found["valid"] is False and found["nodes"]["broken"]


# ------------------------------------------------------------------------------------------------ what nodes do wrong


def test_a_field_too_many_is_a_malformed_reply_and_invalid():
    found = run("echo", "echo", "extra", nodes=1).results
    assert found["replies"]["valid"] is False and found["valid"] is False
    assert 'the field "node" is not known' in found["replies"]["malformed"][0]


def test_refusals_count_against_the_availability_that_was_asked_for():
    found = run("unique-ids", "ids", nodes=1, availability=1.0).results
    assert found["availability"] == {"valid": True, "ok_fraction": 1.0, "wanted": 1.0}
    found = run("echo", "echo", "refuses", nodes=1, availability=1.0).results
    assert found["availability"]["valid"] is False and 0.5 < found["availability"]["ok_fraction"] < 0.9
    assert found["errors"][0]["error"] == "temporarily-unavailable (code 11)"
    assert found["errors"][0]["example"] == "too busy"


def test_a_stray_line_is_told_and_does_no_harm():
    found = run("echo", "echo", "strays", nodes=1).results
    assert found["valid"] is True and "about to answer" in found["nodes"]["problems"][0]


def test_a_node_that_dies_ends_the_run_with_its_last_words():
    found = run("echo", "echo", "dies", nodes=1, time_limit_s=60.0)
    assert found.valid is False
    assert "exit status 3" in found.results["nodes"]["broken"][0]
    assert "these are my last words" in found.results["nodes"]["broken"][0]
    assert "these are my last words" in found.logs["n1"]


def test_a_node_that_does_not_start_is_a_result():
    found = run("echo", "nothing_of_this_name", nodes=1).results
    assert found["valid"] is False and "before it answered init" in found["nodes"]["broken"][0]


# ------------------------------------------------------------------------------------------------ counts


def test_messages_are_counted_as_maelstrom_counts_them():
    found = run("lin-kv", "store", nodes=2).results
    count = found["stats"]["count"]
    # A request and a reply to the client, a request and a reply to the service.
    assert found["net"]["servers"]["msg_count"] == found["net"]["clients"]["msg_count"] == 2 * count
    assert found["net"]["all"]["msgs_per_op"] == 4.0
