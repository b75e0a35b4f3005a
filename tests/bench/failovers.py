"""How long writes fail after a cluster's leader was killed, for any cluster whose ports are known.

Each system has a function that gets the ports of the nodes and the password, prepares something to write to, and
returns the number of the node that leads it, and a write that raises until a node acknowledges it. What is
acknowledged has the copies that the system promises: a majority's, or for Redis the new primary's own.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Sequence

from labsupport.services import Cassandra, Etcd, Kafka, Nats, RabbitMQ, Redis, ZooKeeper
from labsupport.services.wire import NotYet, amqp, cql, http, kafka, patience, resp, zookeeper
from labsupport.services.wire import nats as wire_nats

Write = Callable[[int, float], object]
FAILED = (OSError, EOFError, ValueError, KeyError, NotYet)
LIMIT_S = 90.0
KEY = base64.b64encode(b"bench").decode()


def failover_ms(kind: type, ports: Sequence[int], password: str, kill: Callable[[int], object]) -> float:
    """Milliseconds from the end of the leader to the first write that a survivor acknowledges.

    Args:
        kill: ends the node with a number, at once.
    """
    leader, write = SYSTEMS[kind](ports, password)
    survivors = itertools.cycle([port for index, port in enumerate(ports) if index != leader])
    kill(leader)
    began = time.perf_counter()
    _until(lambda timeout_s: write(next(survivors), timeout_s), 0.1)
    return (time.perf_counter() - began) * 1000


def _until(ask: Callable[[float], object], first_s: float = 1.0) -> object:
    timeouts, end = patience(first_s), time.monotonic() + LIMIT_S
    while True:
        try:
            return ask(next(timeouts))
        except FAILED:
            if time.monotonic() > end:
                raise
        time.sleep(0.002)


def _who(ports: Sequence[int], leads: Callable[[int, float], bool]) -> int:
    """The number of the node that leads."""

    def look(timeout_s: float) -> int:
        for index, port in enumerate(ports):
            if leads(port, timeout_s):
                return index
        raise NotYet("nobody leads")

    return _until(look)


def on_nats(ports: Sequence[int], password: str) -> tuple[int, Write]:
    """A stream with a replica on each node, and its leader."""

    def create(timeout_s: float) -> int:
        with wire_nats.Nats(ports[0], "lab", password, timeout_s=timeout_s) as client:
            wanted = {"name": "bench", "subjects": ["bench"], "num_replicas": len(ports), "storage": "file"}
            client.jetstream("STREAM.CREATE.bench", wanted, timeout_s=timeout_s)
            return int(client.jetstream("STREAM.INFO.bench", timeout_s=timeout_s)["cluster"]["leader"][-1])

    def write(port: int, timeout_s: float) -> None:
        with wire_nats.Nats(port, "lab", password, timeout_s=timeout_s) as client:
            if "seq" not in json.loads(client.request("bench", b"1")):
                raise NotYet

    leader = _until(create)
    _until(lambda timeout_s: write(ports[leader], timeout_s))
    return leader, write


def on_redis(ports: Sequence[int], password: str) -> tuple[int, Write]:
    """The primary; a write to a replica is refused until the sentinels promote it."""

    def ask(port: int, timeout_s: float, *command: str):
        with resp.Resp(port, password, timeout_s=timeout_s) as client:
            return client.call(*command)

    leader = _who(ports, lambda port, timeout_s: ask(port, timeout_s, "ROLE")[0] == "master")
    return leader, lambda port, timeout_s: ask(port, timeout_s, "SET", "bench", "1")


def on_etcd(ports: Sequence[int], _password: str) -> tuple[int, Write]:
    def leads(port: int, timeout_s: float) -> bool:
        status = http.request(port, "/v3/maintenance/status", {}, timeout_s=timeout_s)
        return status.get("leader") == status["header"]["member_id"]

    def write(port: int, timeout_s: float) -> None:
        http.request(port, "/v3/kv/put", {"key": KEY, "value": KEY}, timeout_s=timeout_s)

    return _who(ports, leads), write


def on_rabbitmq(ports: Sequence[int], password: str) -> tuple[int, Write]:
    """A quorum queue, which is led by the node on which it was declared."""
    kind = {"x-queue-type": "quorum", "x-quorum-initial-group-size": len(ports)}

    def write(port: int, _timeout_s: float) -> None:
        with amqp.Amqp(port, "lab", password, timeout_s=0.2) as client:
            client.open_channel()
            client.declare("bench", kind, durable=True)
            client.publish("bench", b"1")

    write(ports[0], 5.0)
    return 0, write


def on_zookeeper(ports: Sequence[int], _password: str) -> tuple[int, Write]:
    """A new session is a write: most servers have to agree to it."""

    def leads(port: int, timeout_s: float) -> bool:
        return zookeeper.command(port, "srvr", timeout_s).get("Mode") == "leader"

    return _who(ports, leads), zookeeper.session


def on_kafka(ports: Sequence[int], _password: str) -> tuple[int, Write]:
    """A topic with a copy on each broker; the client looks for the new leader by itself, and often."""
    from confluent_kafka import Producer  # which comes with the first Kafka that is started
    from confluent_kafka.admin import AdminClient, NewTopic

    servers = {"bootstrap.servers": ",".join(f"127.0.0.1:{port}" for port in ports), "log_level": 0}
    new = NewTopic("bench", num_partitions=1, replication_factor=len(ports))
    admin = AdminClient(servers)  # in a variable, or it ends before it has an answer
    admin.create_topics([new], operation_timeout=30)["bench"].result(60)
    often = ("retry.backoff.ms", "reconnect.backoff.ms", "topic.metadata.refresh.fast.interval.ms")
    most = {"retry.backoff.max.ms": 100, "reconnect.backoff.max.ms": 100, "linger.ms": 0, "acks": "all"}
    producer = Producer({**servers, **dict.fromkeys(often, 50), **most})

    def write(_port: int, _timeout_s: float) -> None:
        errors = []
        producer.produce("bench", b"1", on_delivery=lambda error, _message: errors.append(error))
        if producer.flush(LIMIT_S) or errors != [None]:
            raise NotYet(str(errors))

    _until(lambda timeout_s: write(0, timeout_s))
    leader = kafka.metadata(ports[0], "bench", timeout_s=5.0).leaders["bench", 0][1]
    return leader - 1, write


def on_cassandra(ports: Sequence[int], _password: str) -> tuple[int, Write]:
    """Nobody leads: any node is killed, and the others have the copies that a quorum needs."""

    def ask(port: int, timeout_s: float, text: str) -> None:
        cql.query(port, text, consistency=cql.QUORUM, timeout_s=timeout_s)

    strategy = "{'class': 'SimpleStrategy', 'replication_factor': %d}" % len(ports)  # noqa: UP031
    for text in (f"CREATE KEYSPACE bench WITH replication = {strategy}", "CREATE TABLE bench.t (k int PRIMARY KEY)"):
        ask(ports[0], 30.0, text)
    write = "INSERT INTO bench.t (k) VALUES (1)"
    for port in ports:
        _until(lambda timeout_s: ask(port, timeout_s, write))  # noqa: B023
    return 0, lambda port, timeout_s: ask(port, max(timeout_s, 0.5), write)


SYSTEMS = {
    Nats: on_nats,
    Redis: on_redis,
    Etcd: on_etcd,
    RabbitMQ: on_rabbitmq,
    ZooKeeper: on_zookeeper,
    Kafka: on_kafka,
    Cassandra: on_cassandra,
}
