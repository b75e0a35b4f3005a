"""Redis Cluster: where a key lives."""

from __future__ import annotations

import pytest
import redis

from labsupport.errors import LearnerError, ServiceError
from labsupport.services.redis_cluster import RedisCluster
from tests.services.owners import until


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


@pytest.mark.parametrize(("breaks", "mends"), [("kill", "restart"), ("pause", "resume")])
def test_while_one_primary_is_gone_the_others_refuse_even_their_own_keys(cluster, breaks, mends):
    """The default of Redis Cluster: no answers before every slot has an owner, and ours have no replicas."""
    gone, there = cluster.owner_of("lost"), next(node for node in cluster.nodes if node is not cluster.owner_of("lost"))
    own = next(key for key in map(str, range(100)) if cluster.owner_of(key) is there)
    client = redis.Redis.from_url(there.url, decode_responses=True)
    client.set(own, "kept")
    getattr(gone, breaks)()
    until(lambda: refused(client, own), limit_s=60)
    getattr(gone, mends)()
    until(lambda: not refused(client, own), limit_s=60)
    assert client.get(own) == "kept"


def refused(client, key):
    try:
        client.get(key)
    except redis.exceptions.ClusterDownError:
        return True
    return False


def test_it_has_no_leader(cluster):
    with pytest.raises(ServiceError, match="no leader"):
        cluster.leader()


def test_two_primaries_are_no_cluster():
    with pytest.raises(LearnerError, match="at least 3"):
        RedisCluster(nodes=2)
