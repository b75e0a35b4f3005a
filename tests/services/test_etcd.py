"""etcd: what a lesson does with it."""

from __future__ import annotations

import base64

import pytest

from labsupport.errors import ServiceError
from labsupport.services import Etcd
from labsupport.services.wire import http


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def put(node, key, value):
    return http.request(node.port, "/v3/kv/put", {"key": encoded(key), "value": encoded(value)}, timeout_s=5)


def get(node, key):
    found = http.request(node.port, "/v3/kv/range", {"key": encoded(key)}, timeout_s=5).get("kvs", [])
    return base64.b64decode(found[0]["value"]).decode() if found else None


@pytest.fixture(scope="module")
def single():
    with Etcd() as service:
        yield service


@pytest.fixture(scope="module")
def cluster():
    with Etcd(nodes=3) as service:
        yield service


def test_it_is_ready_on_entry_and_its_history_is_empty():
    with Etcd() as service:
        assert service.url == f"http://127.0.0.1:{service.port}"
        assert put(service, "first", "1")["header"]["revision"] == "2", "an empty etcd is at revision 1"
        assert get(service, "first") == "1"


def test_what_was_acknowledged_survives_a_kill_and_a_restart():
    with Etcd() as service:
        port = service.port
        for number in range(20):
            put(service, f"key/{number}", "kept")
        service.nodes[0].kill()
        service.nodes[0].restart()
        assert (service.port, get(service, "key/19")) == (port, "kept")


def test_a_frozen_member_answers_when_it_goes_on(single):
    node = single.nodes[0]
    node.pause()
    assert node.state == "paused"
    with pytest.raises(TimeoutError):
        http.request(node.port, "/version", timeout_s=0.2)
    node.resume()
    assert put(single, "after", "all")


def test_a_killed_leader_is_replaced_and_nothing_is_lost(cluster):
    put(cluster.nodes[0], "before", "the election")
    first = cluster.leader()
    first.kill()
    second = cluster.leader(timeout_s=30)
    assert second is not first
    assert get(second, "before") == "the election"
    put(second, "meanwhile", "without the first")
    first.restart()
    assert get(first, "meanwhile") == "without the first"


def test_a_frozen_leader_is_replaced_although_it_does_not_know(cluster):
    first = cluster.leader()
    first.pause()
    second = cluster.leader(timeout_s=30)
    first.resume()
    assert second is not first
    assert cluster.leader() is not first


def test_without_a_majority_nobody_leads_and_a_member_still_restarts():
    with Etcd(nodes=3) as cluster:
        put(cluster.nodes[0], "kept", "by all")
        for node in cluster.nodes:
            node.kill()
        with pytest.raises(ServiceError, match="no leader"):
            cluster.leader(timeout_s=0.3)
        cluster.nodes[2].restart()  # alone it can serve nobody, but it waits for the others
        cluster.nodes[0].restart()
        assert get(cluster.leader(timeout_s=30), "kept") == "by all"


def test_a_member_that_is_terminated_hands_over(cluster):
    first = cluster.leader()
    first.terminate()
    assert cluster.leader(timeout_s=30) is not first
    first.restart()


def test_five_members_elect_one_leader():
    with Etcd(nodes=5) as cluster:
        assert len(cluster.nodes) == len(set(cluster.urls)) == 5
        assert cluster.leader() in cluster.nodes
