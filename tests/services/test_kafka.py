"""Kafka: what a lesson does with it, through the client library that it uses."""

from __future__ import annotations

import contextlib
import re
import subprocess

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from labsupport.errors import ServiceError, SetupError
from labsupport.services import Kafka, broken, sources
from labsupport.services.kafka import FEATURES
from labsupport.services.wire import kafka
from tests.services.owners import joined, listeners_of, until

QUIET = {"log_level": 0}
REFUSED = (KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, KafkaError._MSG_TIMED_OUT)


def create(service, topic, **settings):
    """A topic of one partition, copied to every broker."""
    admin = AdminClient({"bootstrap.servers": service.bootstrap_servers, **QUIET})
    new = NewTopic(topic, num_partitions=1, replication_factor=len(service.nodes), config=settings)
    admin.create_topics([new], operation_timeout=30)[topic].result(60)
    service.leader_of(topic, timeout_s=30)
    return topic


def producer_of(service, **settings):
    return Producer(
        {"bootstrap.servers": service.bootstrap_servers, "linger.ms": 0, "message.timeout.ms": 60_000, **QUIET}
        | {name.replace("_", "."): value for name, value in settings.items()}
    )


def deliver(producer, topic, *values):
    """Send and wait for what the leader says; the first error is raised."""
    errors = []
    for value in values:
        producer.produce(topic, value.encode(), on_delivery=lambda error, _message: errors.append(error))
    assert producer.flush(90) == 0
    if any(errors):
        raise KafkaException(next(filter(None, errors)))


def produce(service, topic, *values, **settings):
    deliver(producer_of(service, **settings), topic, *values)


@contextlib.contextmanager
def reading(service, topic, **settings):
    consumer = Consumer(
        {"bootstrap.servers": service.bootstrap_servers, "group.id": "tests", "enable.auto.commit": False, **QUIET}
        | {name.replace("_", "."): value for name, value in settings.items()}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        yield consumer
    finally:
        consumer.close()


def consume(service, topic, count, **settings):
    """The first values of a topic, read from its begin."""
    values = []
    with reading(service, topic, **settings) as consumer:
        until(lambda: len(values) >= count or _take(consumer, values, count), limit_s=90)
    return values


def _take(consumer, values, count):
    values += [m.value().decode() for m in consumer.consume(count - len(values), 0.5) if not m.error()]
    return len(values) >= count


@pytest.fixture(scope="module")
def single():
    with Kafka() as service:
        yield service


@pytest.fixture(scope="module")
def cluster():
    with Kafka(nodes=3) as service:
        yield service


def test_it_is_ready_on_entry_and_empty(single):
    assert single.bootstrap_servers == f"127.0.0.1:{single.port}"
    admin = AdminClient({"bootstrap.servers": single.bootstrap_servers})
    assert list(admin.list_topics(timeout=30).topics) == []
    assert single.leader() is single.nodes[0]


def test_what_was_acknowledged_survives_a_kill_and_a_restart(single):
    topic = create(single, "kept")
    produce(single, topic, *map(str, range(20)))
    port = single.port
    single.nodes[0].kill()
    single.nodes[0].restart()
    assert single.port == port
    assert consume(single, topic, 20) == [str(number) for number in range(20)]


def test_one_that_somebody_else_runs_is_used_and_left_alone(single, monkeypatch):
    monkeypatch.setenv("LAB_KAFKA_URL", single.url)
    with Kafka() as other:
        assert other.url == single.url
        with pytest.raises(ServiceError, match="not ours"):
            other.nodes[0].kill()
    assert single.nodes[0].state == "running"


def test_a_topic_that_nobody_has_created_has_no_leader(single):
    with pytest.raises(ServiceError, match="no leader"):
        single.leader_of("nobody-made-this", timeout_s=0.3)


def test_a_transaction_that_is_aborted_is_not_read(single):
    topic = create(single, "transactions")
    producer = Producer({"bootstrap.servers": single.bootstrap_servers, "transactional.id": "t", **QUIET})
    producer.init_transactions(60)
    for value, end in ("no", producer.abort_transaction), ("yes", producer.commit_transaction):
        producer.begin_transaction()
        producer.produce(topic, value.encode())
        producer.flush(30)
        end(60)
    assert consume(single, topic, 1, isolation_level="read_committed") == ["yes"]


def test_a_frozen_broker_answers_when_it_goes_on(single):
    topic = create(single, "frozen")
    single.nodes[0].pause()
    with pytest.raises(KafkaException) as caught:
        produce(single, topic, "in vain", message_timeout_ms=1000)
    assert caught.value.args[0].code() == KafkaError._MSG_TIMED_OUT
    shown = broken.explanation(caught.value, {"kafka": single})
    assert "kafka-0 of Kafka is frozen" in shown.what and "kafka.nodes[0].resume()" in shown.do
    single.nodes[0].resume()
    produce(single, topic, "at last")


def test_a_new_cluster_has_the_features_that_kafka_gives_to_one(single, tmp_path):
    settings = single._directory / "kafka-0" / "server.properties"
    elsewhere = tmp_path / "server.properties"
    elsewhere.write_text(re.sub("(?m)^log.dirs=.*", f"log.dirs={tmp_path}/data", settings.read_text()))
    words = ["format", "--cluster-id", single._cluster, "--config", str(elsewhere)]
    subprocess.run(single._java(tmp_path, "kafka.tools.StorageTool", *words), check=True, capture_output=True)
    assert records(tmp_path / "data" / "bootstrap.checkpoint") == records(FEATURES)


def records(path):
    """The records of a file of batches (https://kafka.apache.org/43/implementation/message-format/), without times."""
    data, found = path.read_bytes(), []
    while data:
        size = 12 + int.from_bytes(data[8:12], "big")
        found.append(data[57:size])
        data = data[size:]
    return found


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_shares_out_a_topic_by_either_protocol(single, protocol):
    topic = create(single, f"shared-{protocol}")
    produce(single, topic, "one", "two")
    settings = {"group.id": f"by-{protocol}", "group.protocol": protocol, "auto.offset.reset": "earliest", **QUIET}
    values = []
    with contextlib.closing(Consumer({"bootstrap.servers": single.bootstrap_servers, **settings})) as consumer:
        consumer.subscribe([topic])
        until(lambda: _take(consumer, values, 2), limit_s=90)
    assert values == ["one", "two"]


@pytest.fixture
def without_java(monkeypatch):
    def program(_system):
        raise SetupError("Kafka needs Java 17 to 25, and this machine has none.", do="run: install it")

    monkeypatch.setattr(sources, "program", program)


def test_where_kafka_cannot_be_had_tansu_is_started_in_its_place_and_says_so(without_java, capsys):
    with Kafka() as service:
        told = capsys.readouterr().err
        assert "needs Java" in told and "starts Tansu" in told and "forgets everything" in told
        assert "Tansu" in repr(service) and service.leader() is service.nodes[0]
        topic = create(service, "tansu")
        produce(service, topic, "one", "two", acks="all")
        assert consume(service, topic, 2) == ["one", "two"]
        service.nodes[0].kill()
        service.nodes[0].restart()
        admin = AdminClient({"bootstrap.servers": service.bootstrap_servers})
        assert list(admin.list_topics(timeout=30).topics) == []


def test_nothing_takes_the_place_of_three_brokers(without_java):
    with pytest.raises(SetupError, match="needs Java"):
        Kafka(nodes=3).start()


def test_it_listens_on_the_loopback_interface_only(cluster):
    listeners = listeners_of(cluster._directory)
    assert len(listeners) >= 6 and all(each.startswith("127.0.0.1:") for each in listeners), listeners


def test_a_killed_leader_of_a_partition_is_replaced_and_nothing_is_lost(cluster):
    topic = create(cluster, "orders")
    produce(cluster, topic, "before", acks="all")
    first = cluster.leader_of(topic)
    first.kill()
    second = cluster.leader_of(topic, timeout_s=60)
    assert second is not first
    produce(cluster, topic, "meanwhile", acks="all")
    first.restart()
    until(lambda: first in cluster.in_sync(topic), limit_s=60)
    assert consume(cluster, topic, 2) == ["before", "meanwhile"]


def test_a_frozen_leader_of_a_partition_is_replaced_and_nothing_is_lost(cluster):
    topic = create(cluster, "cold")
    produce(cluster, topic, "before", acks="all")
    first = cluster.leader_of(topic)
    first.pause()
    assert cluster.leader_of(topic, timeout_s=60) is not first
    produce(cluster, topic, "meanwhile", acks="all")
    first.resume()
    until(lambda: first in cluster.in_sync(topic), limit_s=60)
    assert consume(cluster, topic, 2) == ["before", "meanwhile"]


def test_the_controller_that_is_frozen_is_replaced_although_it_does_not_know(cluster):
    topic = create(cluster, "controlled")
    first = cluster.leader(timeout_s=30)
    first.pause()
    second = cluster.leader(timeout_s=60)
    assert second is not first
    first.resume()
    assert cluster.leader(timeout_s=30) is not first
    until(lambda: len(cluster.in_sync(topic)) == 3, limit_s=60)


def test_too_few_copies_in_sync_refuse_what_wants_all(cluster):
    topic = create(cluster, "careful", **{"min.insync.replicas": "3"})
    victim = next(node for node in cluster.nodes if node is not cluster.leader_of(topic))
    victim.kill()
    until(lambda: victim not in cluster.in_sync(topic), limit_s=60)
    with pytest.raises(KafkaException) as caught:
        produce(cluster, topic, "refused", acks="all", message_timeout_ms=2000, retries=0)
    assert caught.value.args[0].code() in REFUSED
    produce(cluster, topic, "taken", acks="1")
    victim.restart()


def test_without_a_majority_nobody_leads_and_a_node_still_restarts(cluster):
    for node in cluster.nodes:
        node.kill()
    with pytest.raises(ServiceError, match="no leader"):
        cluster.leader(timeout_s=0.3)
    cluster.nodes[2].restart()  # alone it can elect nobody, but it waits for the others
    cluster.nodes[0].restart()
    cluster.nodes[1].restart()
    assert consume(cluster, "orders", 2) == ["before", "meanwhile"]


@pytest.fixture(scope="module")
def parted():
    with Kafka(nodes=3, partitions=True) as service:
        yield service


def known(nodes, topic):
    """The leader of a topic, by epoch and number, as each broker knows it."""
    return {kafka.metadata(node.port, topic, timeout_s=10).leaders[topic, 0] for node in nodes}


def test_a_leader_that_is_cut_off_acknowledges_alone_what_is_lost_when_it_joins_the_others(parted):
    topic = create(parted, "parted")
    hasty = producer_of(parted, acks="1", retries=0)
    deliver(hasty, topic, "first")
    produce(parted, topic, "before", acks="all")  # with which all have the first as well
    first = parted.leader_of(topic)
    parted.partition([[first]])
    deliver(hasty, topic, "acknowledged by one")  # at once: nobody else leads for another 3 s
    until(lambda: parted.leader_of(topic, timeout_s=60) is not first, limit_s=60)
    others = ",".join(f"127.0.0.1:{node.port}" for node in parted.nodes if node is not first)
    produce(parted, topic, "during", acks="all", bootstrap_servers=others)
    parted.heal()
    until(lambda: len(parted.in_sync(topic)) == 3, limit_s=90)
    produce(parted, topic, "after", acks="all")
    assert consume(parted, topic, 4) == ["first", "before", "during", "after"]


def test_a_leader_is_told_when_every_broker_that_is_not_cut_off_from_it_knows_it(parted):
    topic = create(parted, "told")
    first, before = parted.leader_of(topic), known(parted.nodes, topic)
    parted.partition([[first]])
    until(lambda: parted.leader_of(topic, timeout_s=60) is not first, limit_s=60)
    assert not before & known([node for node in parted.nodes if node is not first], topic)
    assert before == known([first], topic)
    parted.heal()
    parted.leader_of(topic, timeout_s=60)
    assert not before & known(parted.nodes, topic)


def test_brokers_and_controllers_that_call_each_other_again_are_behind_the_relay_still(parted):
    relay = parted._between
    relay.call(lambda: [link.reset() for link in list(relay.links)])
    create(parted, "again")  # of which all hear
    assert joined(node.pid for node in parted.nodes) == set()
