"""What stands in a broker: messages that wait, that are in somebody's hands, that came again.

A gauge is a function without arguments that looks and returns numbers by name; it raises while the broker has no
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
    """How far a group's committed offsets are behind the end of each partition."""
    if not group:
        raise LearnerError("In Kafka a lag is that of a group of consumers.", do='give it: group="..."')
    import confluent_kafka

    servers = ",".join(urlsplit(url).netloc for url in service.urls)
    client = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})

    def look() -> dict[str, int]:
        try:
            known = client.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
            wanted = [confluent_kafka.TopicPartition(topic, number) for number in sorted(known)]
            found = {}
            for place in client.committed(wanted, timeout=PATIENCE_S):
                first, end = client.get_watermark_offsets(place, timeout=PATIENCE_S)
                found[f"partition {place.partition}: lag"] = end - max(place.offset, first)  # nothing committed: < 0
        except confluent_kafka.KafkaException as error:
            raise NotYet(str(error)) from None
        return found

    return look


_MAKE: dict[str, Callable[[Service, str, str], Gauge]] = {
    "rabbitmq": _of_rabbitmq,
    "nats": _of_nats,
    "kafka": _of_kafka,
}
