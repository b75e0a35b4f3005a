"""Gauges count what waits in real brokers, what is in somebody's hands, and what came again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import urlsplit

import pytest

from labsupport import Etcd, Kafka, LearnerError, Nats, RabbitMQ
from labsupport.services.wire import NotYet


def until(gauge, wanted: dict[str, int], timeout_s: float = 60.0) -> None:
    deadline, seen = time.monotonic() + timeout_s, None
    while seen != wanted:
        assert time.monotonic() < deadline, f"{seen} never became {wanted}"
        time.sleep(0.02)
        with contextlib.suppress(NotYet):  # a group's broker may have to be found first
            seen = gauge()


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_queue_of_rabbitmq(kind):
    import pika

    with RabbitMQ() as rabbit, pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("jobs", durable=True, arguments={"x-queue-type": kind})
        gauge = rabbit.gauge("jobs")
        channel.basic_publish("", "jobs", b"one")
        until(gauge, {"ready": 1, "unacked": 0, "redelivered": 0})
        method, _, _ = channel.basic_get("jobs")
        until(gauge, {"ready": 0, "unacked": 1, "redelivered": 0})
        channel.basic_nack(method.delivery_tag)
        until(gauge, {"ready": 1, "unacked": 0, "redelivered": 0})
        channel.basic_get("jobs")
        until(gauge, {"ready": 0, "unacked": 1, "redelivered": 1})
        assert rabbit.gauge("jobs")()["redelivered"] == 0  # a new gauge begins to count anew


def test_the_consumers_of_a_stream_of_nats():
    import nats

    async def work(server: Nats) -> None:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        await stream.add_stream(name="ORDERS", subjects=["orders"])
        first = await stream.pull_subscribe("orders", durable="first")
        await stream.publish("orders", b"one")
        gauge = server.gauge("ORDERS")
        until(gauge, {"waiting": 1, "unacked": 0, "redelivered": 0})
        (message,) = await first.fetch(1)
        until(gauge, {"waiting": 0, "unacked": 1, "redelivered": 0})
        await message.nak()
        await first.fetch(1)
        until(gauge, {"waiting": 0, "unacked": 1, "redelivered": 1})
        await stream.pull_subscribe("orders", durable="second")
        assert gauge()["second: waiting"] == 1
        await client.close()

    with Nats() as server:
        asyncio.run(work(server))


def test_a_groups_lag_in_each_partition_of_a_topic_of_kafka():
    import confluent_kafka
    from confluent_kafka.admin import AdminClient, NewTopic

    with Kafka() as kafka:
        place = {"bootstrap.servers": urlsplit(kafka.url).netloc}
        admin = AdminClient(place)
        admin.create_topics([NewTopic("orders", 2)])["orders"].result(30)
        producer = confluent_kafka.Producer(place)
        for number in range(5):
            producer.produce("orders", b"one", partition=number % 2)
        assert producer.flush(30) == 0
        gauge = kafka.gauge("orders", group="billing")
        until(gauge, {"partition 0: lag": 3, "partition 1: lag": 2})
        consumer = confluent_kafka.Consumer({**place, "group.id": "billing"})
        consumer.commit(offsets=[confluent_kafka.TopicPartition("orders", 0, 2)], asynchronous=False)
        until(gauge, {"partition 0: lag": 1, "partition 1: lag": 2})
        consumer.close()
        with pytest.raises(LearnerError, match="a group of consumers"):
            kafka.gauge("orders")


def test_what_has_no_queue_has_no_gauge():
    with Etcd() as etcd, pytest.raises(LearnerError, match="Nothing waits in etcd"):
        etcd.gauge("jobs")
