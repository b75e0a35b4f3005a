"""What stands in a broker: messages that wait, that are in somebody's hands, that came again; and who reads them.

A gauge is a function without arguments that looks and returns numbers by name; it raises while the broker has no
answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from labsupport.errors import LearnerError
from labsupport.services.wire import NotYet
from labsupport.services.wire import nats as wire

if TYPE_CHECKING:
    from labsupport.services.base import Service

Gauge = Callable[[], dict[str, int]]
# Counted by the broker over all queues, since it started: it counts no redeliveries per queue.
REDELIVERED = """
lists:sum([maps:get(messages_redelivered_total, C, 0) || C <- maps:values(rabbit_global_counters:overview())])
"""
PATIENCE_S = 1.0


def gauge(service: Service, what: str, group: str = "") -> Gauge:
    """A gauge for one queue, stream or topic; see `Service.gauge`."""
    make = _MAKE.get(service.system)
    if make is None:
        known = ", ".join(sorted(_MAKE))
        raise LearnerError(f"Nothing waits in {service.title} that could be counted.", do=f"give one of {known}")
    return make(service, what, group)


def _of_rabbitmq(service: Service, queue: str, _: str) -> Gauge:
    before = int(service._ask_any(REDELIVERED))

    def look() -> dict[str, int]:
        ready, unacked = service.queue_depth(queue, timeout_s=PATIENCE_S)
        again = int(service._ask_any(REDELIVERED)) - before
        return {"ready": ready, "unacked": unacked, "redelivered": max(0, again)}  # a restart begins at 0

    return look


def _of_nats(service: Service, stream: str, _: str) -> Gauge:
    def look() -> dict[str, int]:
        port = service._running().port
        with wire.Nats(port, service.user, service.password, timeout_s=PATIENCE_S) as client:
            consumers = client.jetstream(f"CONSUMER.LIST.{stream}").get("consumers") or []
        found = {}
        for each in consumers:
            name = f"{each['name']}: " if len(consumers) > 1 else ""
            found[f"{name}waiting"] = each["num_pending"]
            found[f"{name}unacked"] = each["num_ack_pending"]
            found[f"{name}redelivered"] = each["num_redelivered"]
        return found

    return look


def _of_kafka(service: Service, topic: str, group: str) -> Gauge:
    if not group:
        raise LearnerError("In Kafka a lag is that of a group of consumers.", do='give it: group="..."')
    lags = _lags(service, topic, group)
    return lambda: {f"partition {number}: lag": lag for number, lag in lags().items()}


def _lags(service: Service, topic: str, group: str) -> Callable[[], dict[int, int]]:
    """How far a group's committed offsets are behind the end of each partition."""
    import confluent_kafka

    client = confluent_kafka.Consumer({**_client_of(service), "group.id": group, "enable.auto.commit": False})

    def look() -> dict[int, int]:
        try:
            known = client.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
            wanted = [confluent_kafka.TopicPartition(topic, number) for number in sorted(known)]
            found = {}
            for place in client.committed(wanted, timeout=PATIENCE_S):
                first, end = client.get_watermark_offsets(place, timeout=PATIENCE_S)
                found[place.partition] = end - max(place.offset, first)  # nothing committed: < 0
        except confluent_kafka.KafkaException as error:
            raise NotYet(str(error)) from None
        return found

    return look


def _client_of(service: Service) -> dict[str, Any]:
    return {"bootstrap.servers": service.bootstrap_servers, "log_level": 0}  # a look that fails tells enough


class Shares(NamedTuple):
    """How a topic is shared out among a group of consumers.

    Attributes:
        rebalancing: whether the group is about to share it out anew.
        readers: for each partition who reads it, "" where nobody does.
        lags: for each partition how far what the group has committed is behind its end.
    """

    rebalancing: bool
    readers: dict[int, str]
    lags: dict[int, int]


def assignment(service: Service, topic: str, group: str) -> Callable[[], Shares]:
    """A look at how a topic of Kafka is shared out; see `Kafka.assignment`."""
    from confluent_kafka import ConsumerGroupState, KafkaException
    from confluent_kafka.admin import AdminClient

    admin, lags = AdminClient(_client_of(service)), _lags(service, topic, group)
    settled = (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
    called: dict[str, str] = {}  # what each member calls itself, in the order in which they came
    held: dict[int, str] = {}
    cooperative = False

    def look() -> Shares:
        nonlocal held, cooperative
        counted = lags()
        try:
            group_now = admin.describe_consumer_groups([group], request_timeout=PATIENCE_S)[group].result()
        except KafkaException as error:
            raise NotYet(str(error)) from None
        members = {each.group_instance_id or each.member_id: each for each in group_now.members}
        called.update((key, each.group_instance_id or each.client_id) for key, each in members.items())
        rebalancing = group_now.state not in settled
        told = {
            place.partition: key
            for key, each in members.items()
            for place in each.assignment.topic_partitions
            if place.topic == topic
        }
        if group_now.partition_assignor or not rebalancing:
            held, cooperative = told, "cooperative" in group_now.partition_assignor
        else:  # the broker still tells what was; but all give up all they have, unless their protocol is cooperative
            held = {number: key for number, key in held.items() if cooperative and key in members}
        names = _numbered(called)
        return Shares(rebalancing, {number: names.get(held.get(number), "") for number in counted}, counted)

    return look


def _numbered(called: dict[str, str]) -> dict[str, str]:
    """A name for each member: what it calls itself, and from the second that does so on, which one it is."""
    names: dict[str, str] = {}
    times: Counter[str] = Counter()
    for key, name in called.items():
        times[name] += 1
        names[key] = f"{name} #{times[name]}" if times[name] > 1 else name
    return names


_MAKE: dict[str, Callable[[Service, str, str], Gauge]] = {
    "rabbitmq": _of_rabbitmq,
    "nats": _of_nats,
    "kafka": _of_kafka,
}
