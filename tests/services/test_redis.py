"""Redis (or Valkey): what a lesson does with it."""

from __future__ import annotations

import contextlib

import pytest
import redis

from labsupport.services import Redis
from tests.services.owners import until


@pytest.fixture(scope="module")
def single():
    with Redis() as service:
        yield service


@pytest.fixture(scope="module")
def cluster():
    with Redis(nodes=3) as service:
        yield service


def client_of(node, **options):
    return redis.Redis.from_url(node.url, socket_timeout=5, decode_responses=True, **options)


def test_it_is_ready_on_entry_and_shows_no_trace_of_the_probe(single):
    client = client_of(single)
    assert client.keys() == []
    assert client.set("greeting", "hello") and client.get("greeting") == "hello"


def test_nobody_gets_in_without_the_password(single):
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=single.port, retry=None).ping()


def test_what_was_acknowledged_survives_a_kill_and_a_restart():
    with Redis() as service:
        port, client = service.port, client_of(service)
        for number in range(500):
            client.rpush("numbers", number)
        service.nodes[0].kill()
        service.nodes[0].restart()
        assert service.port == port
        assert client_of(service).llen("numbers") == 500


def test_a_frozen_server_keeps_its_connections_and_answers_when_it_goes_on(single):
    client = redis.Redis.from_url(single.url, socket_timeout=0.2, retry=None)
    client.ping()
    single.nodes[0].pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    single.nodes[0].resume()
    assert client_of(single).ping()


def test_every_write_to_the_primary_reaches_both_replicas(cluster):
    primary = cluster.leader()
    client = client_of(primary)
    client.set("copied", "yes")
    assert client.wait(2, 5000) == 2
    replicas = [node for node in cluster.nodes if node is not primary]
    assert [client_of(node).get("copied") for node in replicas] == ["yes", "yes"]
    with pytest.raises(redis.ReadOnlyError):
        client_of(replicas[0]).set("copied", "no")


def test_the_sentinels_replace_a_killed_primary_and_clients_find_the_new_one(cluster):
    sentinel = redis.Sentinel(
        cluster.sentinel_addresses, sentinel_kwargs={"password": cluster.password}, password=cluster.password
    )
    first = cluster.leader()
    assert sentinel.discover_master(cluster.primary_name) == ("127.0.0.1", first.port)
    client_of(first).set("before", "the failover")
    client_of(first).wait(2, 5000)
    first.kill()
    second = cluster.leader(timeout_s=30)
    assert second is not first
    assert sentinel.master_for(cluster.primary_name, decode_responses=True).get("before") == "the failover"
    first.restart()
    assert client_of(first).role()[0] == "slave"
    until(lambda: client_of(first).get("before") == "the failover")


def test_a_frozen_primary_is_replaced_and_follows_when_it_goes_on(cluster):
    first = cluster.leader()
    client_of(first).set("copied", "before")
    assert client_of(first).wait(2, 5000) == 2
    first.pause()
    second = cluster.leader(timeout_s=60)
    assert second is not first
    assert client_of(second).get("copied") == "before"
    client_of(second).set("copied", "meanwhile")
    first.resume()
    until(lambda: follows_and_has(first, "copied", "meanwhile"), limit_s=60)


def follows_and_has(node, key, value):
    with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):  # who becomes a replica drops its clients
        return client_of(node).role()[0] == "slave" and client_of(node).get(key) == value
    return False


def test_a_sentinel_is_a_node_like_any_other(cluster):
    assert [node.name for node in cluster.sentinels] == ["sentinel-0", "sentinel-1", "sentinel-2"]
    sentinel = cluster.sentinels[0]
    sentinel.kill()
    assert cluster.leader().state == "running", "two sentinels are enough to ask"
    sentinel.restart()
    assert sentinel.state == "running"
