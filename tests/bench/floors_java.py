"""The floors of `bench_services` for the systems written in Java and for moto's server.

Command lines and settings are those of the service, made before the clock starts; what is compared is everything else:
finding Java and the JARs, making directories and settings, guarding the processes, and knowing when they answer.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from labsupport.services import Cassandra, DynamoDB, Kafka, ZooKeeper, sources
from labsupport.services.dynamodb import LIST_TABLES
from labsupport.services.jvm import JavaService
from labsupport.services.wire import NotYet, cql, http, kafka, zookeeper

COPIES = {1: cql.ONE, 3: cql.ALL}


def floor(kind: type, ask: Callable[[int, int, float], object], bare, count: int) -> Callable[[], None]:
    """The nodes started at once, then each asked until it answers; `ask` gets port, number of nodes and timeout."""
    service = kind(nodes=count)
    service._directory, service.program = bare.directory, sources.program(service.system)
    if isinstance(service, JavaService):
        service._get_ready()
    nodes = service._plan()
    for node in nodes:
        home = str(node._directory)
        environment = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
        bare.prepared[node.name] = node._argv, node._directory, environment

    def timed() -> None:
        for node in nodes:
            bare.run(node.name)
        for node in nodes:
            bare.answers(functools.partial(ask, node.port, count))

    return timed


def ask_zookeeper(port: int, _count: int, timeout_s: float) -> None:
    if "Mode" not in zookeeper.command(port, "srvr", timeout_s):
        raise NotYet
    zookeeper.session(port, timeout_s)


def ask_kafka(port: int, count: int, timeout_s: float) -> None:
    if len(kafka.metadata(port, timeout_s=timeout_s).brokers) < count:
        raise NotYet


def ask_cassandra(port: int, count: int, timeout_s: float) -> None:
    cql.query(port, "SELECT cluster_name FROM system.local", timeout_s=timeout_s)
    if len(cql.query(port, "SELECT native_port FROM system.peers_v2", timeout_s=timeout_s)) < count - 1:
        raise NotYet
    text = "SELECT keyspace_name FROM system_distributed.view_build_status"
    cql.query(port, text, consistency=COPIES[count], timeout_s=max(timeout_s, 0.5))


def ask_dynamodb(port: int, _count: int, _timeout_s: float) -> None:
    http.request(port, "/", {}, timeout_s=1.0, headers=LIST_TABLES)


FLOORS = {
    kind: functools.partial(floor, kind, ask)
    for kind, ask in {
        ZooKeeper: ask_zookeeper,
        Kafka: ask_kafka,
        Cassandra: ask_cassandra,
        DynamoDB: ask_dynamodb,
    }.items()
}
