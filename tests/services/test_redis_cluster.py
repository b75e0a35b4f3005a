"""Redis Cluster: where a key lives."""

from __future__ import annotations

import pytest
import redis

from labsupport.errors import LearnerError, ServiceError
from labsupport.services.redis_cluster import RedisCluster


@pytest.fixture(scope="module")
def cluster():
    with RedisCluster() as service:
        yield service


def test_every_key_is_kept_by_the_node_that_owns_its_slot(cluster):
    client = redis.RedisCluster.from_url(cluster.url, decode_responses=True)
    for number in range(50):
        client.set(f"key {number}", number)
    owners = {cluster.owner_of(f"key {number}").name for number in range(50)}
    assert owners == {"redis-0", "redis-1", "redis-2"}
    for number in range(50):
        owner = redis.Redis.from_url(cluster.owner_of(f"key {number}").url, decode_responses=True)
        assert owner.get(f"key {number}") == str(number)


def test_a_node_sends_a_client_to_the_owner(cluster):
    stranger = next(node for node in cluster.nodes if node is not cluster.owner_of("here"))
    with pytest.raises(redis.exceptions.MovedError):
        redis.Redis.from_url(stranger.url).get("here")


def test_a_node_comes_back_with_its_keys(cluster):
    owner = cluster.owner_of("kept")
    redis.Redis.from_url(owner.url).set("kept", "yes")
    owner.kill()
    owner.restart()
    assert redis.Redis.from_url(owner.url, decode_responses=True).get("kept") == "yes"


def test_it_has_no_leader(cluster):
    with pytest.raises(ServiceError, match="no leader"):
        cluster.leader()


def test_two_primaries_are_no_cluster():
    with pytest.raises(LearnerError, match="at least 3"):
        RedisCluster(nodes=2)
