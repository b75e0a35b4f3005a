"""Partitions between the nodes of a real cluster: who is cut off serves nobody, the others go on, and all heals."""

from __future__ import annotations

import base64
import os
import socket
import time
import types

import pytest

from labsupport.errors import LearnerError, ServiceError, SetupError
from labsupport.services import Etcd, Gearman, Nats, Redis, RedisCluster
from labsupport.services.peers import Peers
from labsupport.services.wire import NotYet, http, resp

WAIT_S = 60.0


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def put(node, key, value):
    return http.request(node.port, "/v3/kv/put", {"key": encoded(key), "value": encoded(value)}, timeout_s=2)


def get(node, key):
    found = http.request(node.port, "/v3/kv/range", {"key": encoded(key)}, timeout_s=2).get("kvs", [])
    return base64.b64decode(found[0]["value"]).decode() if found else None


def until(condition):
    """The first true answer; while it cannot be had, a connection may fail and a leader may change."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            if answer := condition():
                return answer
        except (OSError, EOFError, NotYet, ServiceError) as error:
            answer = error
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


def leader_among(etcd, nodes):
    return until(lambda: (found := etcd.leader()) in nodes and found)


def served(node, key):
    """Whether a linearizable read of a node is answered."""
    try:
        get(node, key)
    except (OSError, NotYet):
        return False
    return True


@pytest.fixture(scope="module")
def cluster():
    with Etcd(nodes=3, partitions=True) as etcd:
        yield etcd


@pytest.fixture
def etcd(cluster):
    yield cluster
    cluster.heal()
    for node in cluster.nodes:
        until(lambda: served(node, "any"))  # noqa: B023


def test_a_leader_that_is_cut_off_is_replaced_and_serves_nobody(etcd):
    first = etcd.leader()
    others = [node for node in etcd.nodes if node is not first]
    etcd.partition([[first], others])
    second = leader_among(etcd, others)
    until(lambda: put(second, "during", "the partition"))
    assert not served(first, "during") and served(second, "during")
    etcd.heal()
    until(lambda: get(first, "during") == "the partition")


def test_a_node_in_no_group_is_with_the_others_left_over(etcd):
    lonely = etcd.nodes[2]
    etcd.partition([[lonely.name]])
    until(lambda: not served(lonely, "key"))
    until(lambda: put(leader_among(etcd, etcd.nodes[:2]), "key", "value"))


def test_nobody_serves_when_all_are_apart(etcd):
    etcd.partition([[node] for node in etcd.nodes])
    for node in etcd.nodes:
        until(lambda: not served(node, "key"))  # noqa: B023


def test_a_cut_may_have_one_direction():
    """Between this process, which is node "a", and a server that is node "b" for the relay."""
    nodes = [types.SimpleNamespace(name="a", pid=os.getpid())]
    with socket.create_server(("127.0.0.1", 0)) as listener, Peers(lambda: nodes) as peers:
        a = socket.create_connection(("127.0.0.1", peers.front("b", listener.getsockname()[1])), WAIT_S)
        b, _ = listener.accept()
        with a, b:
            peers.cut(frozenset({("a", "b")}))
            a.sendall(b"from a")
            b.sendall(b"from b")
            assert a.recv(100) == b"from b"
            b.settimeout(0.1)
            with pytest.raises(TimeoutError):
                b.recv(100)
            peers.cut(frozenset({("b", "a"), ("b", "c")}))
            b.settimeout(WAIT_S)
            assert b.recv(100) == b"from a"
            b.sendall(b"later")
            a.settimeout(0.1)
            with pytest.raises(TimeoutError):
                a.recv(100)
            peers.cut(frozenset())
            assert a.recv(100) == b"later"


def test_who_is_no_node_is_behind_no_partition():
    with socket.create_server(("127.0.0.1", 0)) as listener, Peers(list) as peers:
        port = peers.front("b", listener.getsockname()[1])
        peers.cut(frozenset({("a", "b"), ("b", "a")}))
        with socket.create_connection(("127.0.0.1", port), WAIT_S) as stranger:
            stranger.sendall(b"hello")
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"hello"


def test_a_node_that_restarts_during_a_partition_stays_behind_it(etcd):
    lonely = next(node for node in etcd.nodes if node is not etcd.leader())
    etcd.partition([[lonely]])
    lonely.kill()
    lonely._launch()  # `restart` waits until it answers, and it cannot
    until(lambda: lonely.state == "running" and not served(lonely, "key"))
    etcd.heal()
    until(lambda: served(lonely, "key"))


def test_what_cannot_be_cut_is_refused_in_words(etcd):
    with pytest.raises(LearnerError, match="no node 'etcd-7'"):
        etcd.partition([["etcd-7"]])
    with Etcd() as direct, pytest.raises(LearnerError, match="directly") as caught:
        direct.partition([["etcd-0"]])
    assert "Etcd(nodes=3, partitions=True)" in caught.value.do


def test_a_service_that_is_stopped_has_no_relay_any_more():
    with Etcd(partitions=True) as etcd:
        relay = etcd._between
    assert relay.closed


def test_nats_elects_another_leader_of_the_streams_on_the_larger_side():
    with Nats(nodes=3, partitions=True) as nats:
        first = nats.leader()
        others = [node for node in nats.nodes if node is not first]
        nats.partition([[first]])
        until(lambda: nats.monitor("/jsz", others[0])["meta_cluster"].get("leader") in {other.name for other in others})
        nats.heal()
        until(lambda: len({nats.monitor("/jsz", node)["meta_cluster"].get("leader") for node in nats.nodes}) == 1)


def test_a_redis_primary_that_is_cut_off_takes_a_write_that_is_lost():
    with Redis(nodes=3, partitions=True) as service:

        def ask(node, *command):
            with resp.Resp(node.port, service.password, timeout_s=5) as client:
                return client.call(*command)

        first = service.leader()
        until(lambda: ask(first, "SET", "key", "before"))
        until(lambda: all(ask(node, "GET", "key") == "before" for node in service.nodes))
        service.partition([[first]])  # the sentinels are on the other side
        second = until(lambda: (found := service.leader()) is not first and found)
        assert ask(first, "SET", "key", "acknowledged") == "OK"
        assert ask(second, "GET", "key") == "before"
        service.heal()
        until(lambda: ask(first, "ROLE")[0] == "slave")
        until(lambda: ask(first, "GET", "key") == "before")


def test_a_redis_cluster_whose_slots_are_apart_refuses_to_answer():
    with RedisCluster(partitions=True) as service:

        def states():
            for node in service.nodes:
                with resp.Resp(node.port, service.password, timeout_s=WAIT_S) as client:
                    yield client.call("CLUSTER", "INFO").split()[0]

        service.partition([[service.nodes[0]], service.nodes[1:]])
        until(lambda: set(states()) == {"cluster_state:fail"})
        service.heal()
        until(lambda: set(states()) == {"cluster_state:ok"})


def test_a_system_that_cannot_be_cut_says_so():
    with Gearman() as service, pytest.raises(SetupError, match="Gearman cannot be cut off"):
        service.partition([["gearman-0"]])
