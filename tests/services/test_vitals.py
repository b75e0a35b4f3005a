"""Nodes say of themselves which role they have, in which term, and how far their log is."""

from __future__ import annotations

import time

import pytest

from labsupport import Cassandra, Etcd, Kafka, Nats, RabbitMQ, Redis, RedisCluster, ZooKeeper
from labsupport.services.vitals import Vitals

LEADS = {Etcd: "leader", Nats: "leader", Kafka: "leader", ZooKeeper: "leader", Redis: "primary"}


def settled(service, condition, timeout_s: float = 60.0) -> dict[str, Vitals]:
    deadline = time.monotonic() + timeout_s
    while not condition(found := service.vitals()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def led_by(found: dict[str, Vitals], role: str, service) -> bool:
    """Whether one node leads, the one that the service names; on a busy machine another may lead a moment later."""
    return [name for name, one in found.items() if one.role == role] == [service.leader(timeout_s=60).name]


@pytest.mark.parametrize("kind", LEADS, ids=lambda kind: kind.__name__)
def test_one_leads_all_have_a_log_and_who_is_frozen_is_left_out(kind):
    with kind(nodes=3) as service:
        found = settled(
            service,
            lambda found: (
                len(found) == 3 == sum(one.length is not None for one in found.values())
                and led_by(found, LEADS[kind], service)
            ),
        )
        leader = service.leader(timeout_s=60).name
        assert max(one.length for one in found.values()) > 0
        assert min(one.lag for one in found.values()) == 0
        if kind is not Redis:  # it has no terms
            assert all(one.era.startswith(("term ", "epoch ")) for one in found.values())
        other = next(node for node in service.nodes if node.name != leader)
        other.pause()
        assert other.name not in settled(service, bool)


def test_a_killed_etcd_leader_is_followed_by_one_of_a_later_term():
    with Etcd(nodes=3) as etcd:
        leader = etcd.leader(timeout_s=60)
        before = settled(etcd, lambda found: leader.name in found)
        leader.kill()
        after = settled(etcd, lambda found: led_by(found, "leader", etcd))
        assert max(map(_term, after.values())) > _term(before[leader.name])


def _term(one: Vitals) -> int:
    return int(one.era.split()[1])


def test_systems_without_one_leader_say_what_they_have():
    with RedisCluster() as redis:
        wanted = dict.fromkeys((node.name for node in redis.nodes), Vitals("primary"))
        settled(redis, lambda found: found == wanted)


def test_rabbitmq_counts_the_quorum_queues_that_a_node_leads():
    import pika

    with RabbitMQ() as rabbit:
        settled(rabbit, lambda found: found == {rabbit.nodes[0].name: Vitals()})
        with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection:
            connection.channel().queue_declare("jobs", durable=True, arguments={"x-queue-type": "quorum"})
        settled(rabbit, lambda found: [one.era for one in found.values()] == ["leads 1 of 1 quorum queues"])


def test_cassandra_says_whom_it_knows():
    with Cassandra() as cassandra:
        wanted = {cassandra.nodes[0].name: Vitals("", "knows 0 others")}
        settled(cassandra, lambda found: found == wanted)
