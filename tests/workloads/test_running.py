"""The run itself, against a cluster that is a function: pace, end, replaced clients, and what goes wrong in threads."""

from __future__ import annotations

import itertools
import threading
import time
import types

import pytest

from labsupport.history import Ending
from labsupport.messages import RequestFailed
from labsupport.workloads import Setting, workload
from labsupport.workloads.running import Running
from labsupport.workloads.strokes import Stroke


class Standin:
    """A cluster without processes: `answer(node, body)` answers all requests."""

    def __init__(self, answer):
        self.answer = answer
        self.crashed = {}
        self.did = []
        self.numbers = itertools.count(1)

    def client(self):
        def rpc(node, body, timeout_s):
            return self.answer(node, body)

        return types.SimpleNamespace(name=f"c{next(self.numbers)}", rpc=rpc)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: self.did.append((name, *args))


def run(name, answer, strokes=(), cluster=None, **options):
    chosen = workload(name, Setting(nodes=("n1", "n2"), concurrency=4, seed=1))
    options = {"rate": 200, "time_limit_s": 0.3, "recovery_s": 0, **options}
    running = Running(chosen, cluster or Standin(answer), strokes=strokes, **options)
    return running.run()


def test_steps_come_at_the_pace_and_go_to_every_node():
    asked = []

    def answer(node, body):
        asked.append(node)
        return {"type": "echo_ok", "echo": body["echo"]}

    record = run("echo", answer, rate=1000, time_limit_s=0.4)
    assert len(record.history) == len(asked) <= 520 and set(asked) == {"n1", "n2"}
    assert {operation.client for operation in record.history} == {"c1/n1", "c2/n2", "c3/n1", "c4/n2"}
    assert record.final_from is None


def test_a_run_without_a_rate_only_ends_with_the_final_steps():
    record = run("broadcast", lambda node, body: {"type": f"{body['type']}_ok"} | MESSAGES[body["type"]], rate=0)
    assert [operation.kind for operation in record.history] == ["read"] * 4
    assert all(operation.called >= record.final_from for operation in record.history)


MESSAGES = {"topology": {}, "broadcast": {}, "read": {"messages": []}}


def test_no_step_begins_after_the_time_is_up_though_the_pace_was_not_kept():
    def answer(node, body):
        time.sleep(0.05)
        return {"type": "echo_ok", "echo": body["echo"]}

    record = run("echo", answer, rate=10_000, time_limit_s=0.3)
    assert len(record.history) <= 4 * 7


def test_what_ends_after_the_time_is_up_still_counts_for_the_final_steps():
    """All sends are answered late, so the final polls know of them only if these last answers were heard."""
    over, log, lock = threading.Event(), [], threading.Lock()

    def answer(node, body):
        if body["type"] == "send":
            over.wait()
            with lock:
                log.append([len(log), body["msg"]])
                return {"type": "send_ok", "offset": len(log) - 1}
        if body["type"] == "poll":
            return {"type": "poll_ok", "msgs": {key: log[start:] for key, start in body["offsets"].items()}}
        return {"type": f"{body['type']}_ok"} | ({"offsets": {}} if body["type"].startswith("list") else {})

    threading.Timer(0.5, over.set).start()
    chosen = workload("kafka", Setting(nodes=("n1",), concurrency=3, seed=1, key_count=1, max_writes_per_key=100))
    record = Running(chosen, Standin(answer), rate=500, time_limit_s=0.3, recovery_s=0).run()
    assert len(log) >= 1 and chosen.check(record.history, record.final_from), record.history.operations


def test_a_client_that_does_not_know_how_its_step_ended_is_replaced():
    def answer(node, body):
        raise TimeoutError if body["type"] == "write" else RequestFailed(11)

    record = run("lin-kv", answer)
    unknown = [operation for operation in record.history if operation.ending is Ending.UNKNOWN]
    assert unknown and {operation.kind for operation in unknown} == {"write"}
    assert len({operation.client for operation in unknown}) == len(unknown)
    assert {error[1] for error in record.errors} == {"no answer in time", "temporarily-unavailable (code 11)"}


def test_faults_come_and_all_are_mended_before_the_end():
    cuts = frozenset({("n1", "n2")})
    strokes = [Stroke(0.05, "partition", ("n1",), cuts), Stroke(0.1, "kill", ("n1",)), Stroke(0.15, "pause", ("n2",))]
    cluster = Standin(lambda node, body: {"type": f"{body['type']}_ok"} | MESSAGES[body["type"]])
    record = run("broadcast", None, strokes, cluster, time_limit_s=1.0)
    done = [("partition", cuts), ("kill", "n1"), ("pause", "n2"), ("resume", "n2"), ("restart", "n1"), ("heal",)]
    assert cluster.did == [*done, ("calm",)]
    assert [stroke.what for stroke in record.strokes] == [what for what, *_ in done]


def test_a_node_that_ends_by_itself_ends_the_run():
    def answer(node, body):
        if next(asked) == 10:
            cluster.crashed["n1"] = "gone"
        return {"type": "echo_ok", "echo": body["echo"]}

    asked, cluster = itertools.count(1), Standin(answer)
    record = run("echo", None, cluster=cluster, time_limit_s=3600)
    assert len(record.history) >= 10


def test_a_bug_of_ours_in_a_thread_is_raised_where_the_run_was_begun():
    def answer(node, body):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        run("echo", answer, time_limit_s=3600)
