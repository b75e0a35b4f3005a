"""A node class as real processes: it does what it does in the simulation, and faults do what they say."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from labsupport import spacetime
from labsupport.checkers.linearizability import linearizable
from labsupport.cluster.cluster import Cluster
from labsupport.cluster.report import NodeCrashed
from labsupport.errors import LabBug, LearnerError
from labsupport.faults import Crash, Faults, Link, Partition, Pause, Skew
from labsupport.history import Recorder
from labsupport.messages import RequestFailed, message
from labsupport.node import Node
from labsupport.sim.world import World
from tests.cluster.nodes import AsksTheStore, Begin, Everything, FailsAtStart, PingPong

LIMIT_S = 60.0  # a condition that is not met by then never will be


def until(holds, what):
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, f"waited {LIMIT_S} s for {what}"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def three():
    """Three nodes that nothing happens to; for tests that leave them as they were."""
    with Cluster(Everything, nodes=3, seed=5) as cluster:
        yield cluster
    assert cluster.crashed == {} and cluster.problems == []


def ticks(cluster, client, where="n2"):
    return client.rpc(where, {"type": "count"}, LIMIT_S)["got"]


# ------------------------------------------------------------------------------------------------ a node's life


def test_a_client_gets_an_answer(three):
    answer = three.client().rpc("n1", {"type": "echo", "echo": "héllo"}, LIMIT_S)
    assert (answer["type"], answer["echo"]) == ("echo_ok", "héllo")


def test_what_a_handler_prints_goes_to_the_log_and_not_to_the_network(three):
    three.client().rpc("n3", {"type": "echo", "echo": "x"}, LIMIT_S)
    until(lambda: "this goes to the log" in three.logs("n3"), "the log")


def test_a_handler_awaits_another_node(three):
    assert three.client().rpc("n1", {"type": "ask", "number": 4, "to": "n3"}, LIMIT_S)["number"] == 8


@pytest.mark.parametrize("what, told", [("sleep", "slept"), ("spawn", "spawned"), ("timer", "fast")])
def test_sleeps_coroutines_and_timers_work_in_real_time(three, what, told):
    answer = three.client().rpc("n2", Begin(what, 0.05), LIMIT_S)
    assert answer["what"] == told
    assert what != "sleep" or answer["seconds"] >= 0.045


def test_many_threads_may_ask_through_one_client(three):
    client, found = three.client(), {}

    def ask(number):
        found[number] = client.rpc("n1", {"type": "ask", "number": number, "to": "n2"}, LIMIT_S)["number"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: 2 * number for number in range(20)}


def test_an_unknown_message_type_is_refused_with_words_for_its_author(three):
    with pytest.raises(RequestFailed, match="slip of the pen for 'echo'") as refused:
        three.client().rpc("n1", {"type": "ecko"}, LIMIT_S)
    assert refused.value.code == 10 and refused.value.definite


def test_a_request_without_a_field_is_malformed(three):
    with pytest.raises(RequestFailed, match="without the field 'echo'") as refused:
        three.client().rpc("n1", {"type": "echo"}, LIMIT_S)
    assert refused.value.code == 12


def test_nobody_asks_a_node_that_does_not_exist(three):
    with pytest.raises(LearnerError, match="no node 'n9'"):
        three.client().rpc("n9", {"type": "echo", "echo": "x"})


def test_what_was_saved_outlives_a_kill_and_nothing_else_does():
    with Cluster(Everything, nodes=2) as cluster:
        client = cluster.client()
        client.rpc("n1", Begin("ticks"), LIMIT_S)
        until(lambda: len(ticks(cluster, client)) == 100, "the messages")
        before = cluster.pid("n2")
        cluster.kill("n2")
        assert (cluster.state("n2"), cluster.pid("n2")) == ("down", None)
        with pytest.raises(TimeoutError):
            client.rpc("n2", {"type": "count"}, 0.05)
        cluster.restart("n2")
        answer = client.rpc("n2", {"type": "count"}, LIMIT_S)
        assert (answer["got"], answer["lives"]) == ([], 2) and cluster.pid("n2") != before
        cluster.kill("n2", lose_disk=True)
        cluster.restart("n2")
        assert client.rpc("n2", {"type": "count"}, LIMIT_S)["lives"] == 1
        assert [note["life"] for note in cluster.trace().notes("alive") if note["node"] == "n2"] == [1, 2, 1]
        assert cluster.problems == []


def test_a_frozen_node_answers_when_it_goes_on():
    with Cluster(Everything, nodes=1) as cluster:
        client = cluster.client()
        cluster.pause("n1")
        assert cluster.state("n1") == "paused"
        with pytest.raises(TimeoutError, match="n1 did not answer echo within"):
            client.rpc("n1", {"type": "echo", "echo": "x"}, 0.05)
        cluster.resume("n1")
        assert client.rpc("n1", {"type": "echo", "echo": "y"}, LIMIT_S)["echo"] == "y"
        assert client.late == 1
        cluster.pause("n1")
        cluster.kill("n1")
        cluster.restart("n1")
        assert client.rpc("n1", {"type": "echo", "echo": "z"}, LIMIT_S)["echo"] == "z"


def test_a_node_that_fails_is_reported_with_its_last_lines_and_asking_it_says_so_at_once():
    with Cluster(Everything, nodes=2) as cluster:
        client = cluster.client()
        with pytest.raises(NodeCrashed, match="n1 has ended by itself, with exit status 1") as crashed:
            client.rpc("n1", {"type": "fail"}, LIMIT_S)
        text = str(crashed.value)
        assert "about to fail" in text and "ZeroDivisionError: on purpose" in text and "in on_fail" in text
        assert set(cluster.crashed) == {"n1"} and cluster.state("n1") == "down"
        with pytest.raises(NodeCrashed):
            client.rpc("n1", {"type": "echo", "echo": "x"}, LIMIT_S)
        assert client.rpc("n2", {"type": "echo", "echo": "x"}, LIMIT_S)
        [error] = cluster.trace().of_kind("error")
        assert error.node == "n1" and "has ended by itself" in error.label
        cluster.restart("n1")
        assert cluster.crashed == {} and client.rpc("n1", {"type": "echo", "echo": "x"}, LIMIT_S)


def test_a_node_that_fails_at_its_start_ends_the_cluster():
    with pytest.raises(NodeCrashed, match="before it answered init") as crashed:
        Cluster(FailsAtStart, nodes=2).start()
    assert "KeyError: 'no such thing'" in str(crashed.value)


def test_a_message_to_nobody_is_the_learners_mistake():
    with Cluster(Everything, nodes=2) as cluster:
        with pytest.raises(NodeCrashed) as crashed:
            cluster.client().rpc("n1", Begin("nowhere"), LIMIT_S)
        assert "n1 sent a message to 'n99', and there is no node of that name" in str(crashed.value)


def test_a_foreign_await_is_refused_with_the_same_words_as_in_the_simulation():
    import asyncio

    @message
    class Go:
        pass

    class Foreign(Node):
        async def on_go(self, message, sender, ctx):
            await asyncio.sleep(0.1)

    with Cluster(Foreign, nodes=1) as cluster, pytest.raises(NodeCrashed, match="ended by itself") as crashed:
        cluster.client().rpc("n1", {"type": "go"}, LIMIT_S)
    assert "await ctx.sleep(seconds) instead of asyncio.sleep" in str(crashed.value)


def test_a_class_that_holds_something_of_this_process_cannot_leave_it():
    lock = threading.Lock()

    class Locked(Node):
        def on_start(self, ctx):
            lock.acquire()

    with pytest.raises(LearnerError, match="Locked cannot be sent to another process"):
        Cluster(Locked)


# ------------------------------------------------------------------------------------------------ faults


def test_a_partition_cuts_and_heals():
    with Cluster(Everything, nodes=3) as cluster:
        client = cluster.client()
        cluster.partition([["n1"], ["n2", "n3"]])
        with pytest.raises(RequestFailed, match="n2 did not answer ask within"):
            client.rpc("n1", {"type": "ask", "number": 1, "to": "n2"}, LIMIT_S)
        assert client.rpc("n2", {"type": "ask", "number": 1, "to": "n3"}, LIMIT_S)["number"] == 2
        cluster.heal()
        assert client.rpc("n1", {"type": "ask", "number": 1, "to": "n2"}, LIMIT_S)["number"] == 2
        cluster.partition({("n1", "n2")})  # one way only
        with pytest.raises(RequestFailed):
            client.rpc("n1", {"type": "ask", "number": 1, "to": "n2"}, LIMIT_S)
        client.rpc("n1", Begin("ticks"), LIMIT_S)
        assert ticks(cluster, client) == []
        assert {event.label for event in cluster.trace().of_kind("lose")} == {"partition"}


def sent_and_got(faults):
    with Cluster(Everything, nodes=2, seed=3, faults=faults) as cluster:
        client = cluster.client()
        client.rpc("n1", Begin("ticks"), LIMIT_S)

        def settled():
            servers = cluster.counts["servers"]
            lost = len(cluster.trace().of_kind("lose"))
            return servers["sent"] == 100 and servers["received"] + lost >= 100

        until(settled, "all messages to arrive or to be lost")
        return ticks(cluster, client), cluster


def test_without_faults_everything_arrives_in_order_and_once():
    numbers, cluster = sent_and_got(Faults(link=Link(delay_ms=2, distribution="constant")))
    assert numbers == list(range(100))
    assert cluster.counts["servers"] == {"sent": 100, "received": 100, "unique": 100}


def test_loss_loses_about_its_share():
    numbers, cluster = sent_and_got(Faults(loss=0.3, link=Link(delay_ms=0)))
    assert 50 < len(numbers) < 90 and numbers == sorted(numbers)
    assert cluster.counts["servers"]["received"] == len(numbers)


def test_delays_reorder_and_duplicates_arrive_twice():
    faults = Faults(duplicate=0.3, link=Link(delay_ms=5, distribution="exponential"))
    with Cluster(Everything, nodes=2, seed=3, faults=faults) as cluster:
        client = cluster.client()
        client.rpc("n1", Begin("ticks"), LIMIT_S)
        until(lambda: len(set(ticks(cluster, client))) == 100 and len(ticks(cluster, client)) > 100, "all messages")
        numbers = ticks(cluster, client)
        assert numbers != sorted(numbers)
        assert cluster.counts["servers"]["unique"] == 100 < cluster.counts["servers"]["received"]


def test_delays_do_not_concern_clients():
    with Cluster(Everything, nodes=2, faults=Faults(link=Link(delay_ms=100_000), loss=0.5)) as cluster:
        client = cluster.client()
        assert [client.rpc("n1", {"type": "echo", "echo": str(n)}, LIMIT_S)["echo"] for n in range(20)]


def test_planned_faults_come_at_their_time():
    plan = [
        Crash("n1", at_s=0.1, restart_after_s=0.2),
        Pause("n2", at_s=0.2, for_s=0.2),
        Partition([["n3"]], at_s=0.3, for_s=0.2),
    ]
    with Cluster(Everything, nodes=3, faults=Faults(plan=plan, link=Link(delay_ms=0))) as cluster:
        until(lambda: cluster.trace().of_kind("heal"), "the end of the plan")
        until(lambda: cluster.state("n1") == "running", "the restart")
        found = [event for event in cluster.trace().of_kind("crash", "restart", "pause", "resume", "partition", "heal")]
    assert {(event.kind, event.node) for event in found} == {
        ("crash", "n1"), ("restart", "n1"), ("pause", "n2"), ("resume", "n2"), ("partition", ""), ("heal", ""),
    }  # fmt: skip
    at = {event.kind: event.at_s for event in found}
    assert [at[kind] >= when for kind, when in (("crash", 0.1), ("restart", 0.3), ("resume", 0.4), ("heal", 0.5))]


def test_a_fault_may_be_aimed_at_the_leader():
    class Leads(Node):
        def on_start(self, ctx):
            if ctx.me == "n2":
                ctx.note("leader", term=1)

    with Cluster(Leads, nodes=3, faults=Faults(plan=[Crash("leader", at_s=0.1)])) as cluster:
        until(lambda: cluster.trace().of_kind("crash"), "the crash")
        assert [event.node for event in cluster.trace().of_kind("crash")] == ["n2"]


def test_faults_come_at_random_until_it_is_calm():
    faults = Faults(crashes_per_s=20, pauses_per_s=20, partitions_per_s=20, until_s=1.0, lose_disk=0.5)
    with Cluster(Everything, nodes=3, seed=1, faults=faults) as cluster:
        until(lambda: cluster.trace().events[-1].at_s >= 1.0 or cluster._router.now_s >= 1.5, "the calm")
        until(lambda: all(cluster.state(name) == "running" for name in cluster.names), "all nodes to run")
        client = cluster.client()
        assert client.rpc("n1", {"type": "ask", "number": 1, "to": "n2"}, LIMIT_S)["number"] == 2
        kinds = {event.kind for event in cluster.trace()}
    assert {"crash", "restart", "pause", "resume", "partition", "heal"} <= kinds
    assert cluster.problems == []


@pytest.mark.parametrize(
    "faults", [Faults(skew=0.1), Faults(crash_at_save=0.1), Faults(plan=[Skew("n1", rate=2.0)])], ids=str
)
def test_what_only_a_simulation_can_do_is_refused(faults):
    with pytest.raises(LearnerError, match="its nodes are real"):
        Cluster(Everything, faults=faults)


def test_a_plan_that_names_nobody_is_refused():
    with pytest.raises(LearnerError, match="speaks of n7"):
        Cluster(Everything, nodes=1, faults=Faults(plan=[Crash("n7", at_s=1)])).start()


# ------------------------------------------------------------------------------------------------ what is recorded


def told(trace):
    return [(event.kind, event.node, event.peer, event.label, event.body) for event in trace if event.kind != "start"]


def test_the_trace_is_that_of_the_simulation():
    world = World(PingPong, nodes=2, faults=Faults(link=Link(delay_ms=1)))
    world.run()
    with Cluster(PingPong, nodes=2) as cluster:
        until(lambda: len(cluster.trace().of_kind("save")) == 5, "the last message")
        trace = cluster.trace()
    assert told(trace) == told(world.trace)
    assert [event.clock for event in trace if event.kind != "start"][-1] == world.trace[-1].clock
    drawing = spacetime.drawn(trace)
    assert "n1 tick(number=0) to n2" in drawing.replace("sends ", "") and len(drawing.splitlines()) == len(
        spacetime.drawn(world.trace).splitlines()
    )
    assert len(trace.digest()) == 64


def test_the_oldest_messages_are_forgotten_and_what_clients_said_is_not(monkeypatch):
    monkeypatch.setattr("labsupport.cluster.router.MOST_RECORDS", 200)
    with Cluster(Everything, nodes=1) as cluster:
        client = cluster.client()
        for number in range(200):
            asked = client.call("read", "x")
            client.rpc("n1", {"type": "echo", "echo": str(number)}, LIMIT_S)
            client.returned(asked, None)
        assert len(cluster.history()) == 200
        assert len(cluster.trace().of_kind("send")) < 200


def test_without_a_trace_messages_are_counted_only():
    with Cluster(Everything, nodes=1, trace=False) as cluster:
        cluster.client().rpc("n1", {"type": "echo", "echo": "x"}, LIMIT_S)
        assert cluster.counts["clients"] == {"sent": 2, "received": 2, "unique": 2}
        assert cluster.trace().of_kind("send", "note") == []


def test_a_history_of_real_clients_is_checked_like_a_simulated_one():
    with Cluster(AsksTheStore, nodes=3) as cluster:

        def work(client, node):
            for number in range(20):
                if number % 2:
                    operation = client.call("read", "x")
                    try:
                        client.returned(operation, client.rpc(node, {"type": "read", "key": "x"}, LIMIT_S)["value"])
                    except RequestFailed:
                        client.returned(operation, None)
                else:
                    value = int(client.name[1:]) * 100 + number
                    operation = client.call("write", "x", value)
                    client.rpc(node, {"type": "write", "key": "x", "value": value}, LIMIT_S)
                    client.returned(operation)

        threads = [threading.Thread(target=work, args=(cluster.client(), name)) for name in cluster.names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        history = cluster.history()
        assert cluster.counts["servers"]["sent"] == 2 * 60
        assert "lin-kv" in cluster.trace().nodes
    assert len(history) == 60 and isinstance(history, type(Recorder().history()))
    assert linearizable(history)


def test_twenty_five_nodes_start_and_talk():
    with Cluster(Everything, nodes=25) as cluster:
        client = cluster.client()
        for name in cluster.names:
            assert client.rpc(name, {"type": "ask", "number": 1, "to": "n25"}, LIMIT_S)["number"] == 2
        assert cluster.trace().nodes[:25] == cluster.names
    assert cluster.problems == []


@pytest.mark.parametrize("nodes", [0, 51, ["n1", "n1"], ["c1"], ["a b"]], ids=str)
def test_a_cluster_needs_a_number_or_names(nodes):
    with pytest.raises(LearnerError, match=r"cannot have the nodes|belong to clients"):
        Cluster(Everything, nodes=nodes)


def test_a_mistake_of_the_router_is_told_and_leaves_no_process(monkeypatch):
    with Cluster(Everything, nodes=2) as cluster:
        client, processes = cluster.client(), [psutil.Process(cluster.pid(name)) for name in cluster.names]
        monkeypatch.setattr(cluster._router, "_arrive", lambda way, envelope: 1 / 0)
        with pytest.raises(LabBug, match="cluster-router has failed"):
            client.rpc("n1", {"type": "echo", "echo": "x"}, LIMIT_S)
        until(lambda: not any(process.is_running() for process in processes), "the end of the nodes")


def test_a_cluster_that_does_not_run_says_so():
    with pytest.raises(LearnerError, match="does not run"):
        Cluster(Everything).kill("n1")
