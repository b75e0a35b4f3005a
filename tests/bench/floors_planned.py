"""The floors of `bench_services` for systems whose command lines are long: those written in Java, and workers.

Command lines and settings are those of the service, made before the clock starts; what is compared is everything else:
finding Java and the JARs, making directories and settings, guarding the processes, and knowing when they answer.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from labsupport.services import (
    Cassandra,
    CeleryWorkers,
    DynamoDB,
    Gearman,
    Kafka,
    RedisCluster,
    Service,
    Spark,
    ZooKeeper,
    ports,
    sources,
)
from labsupport.services.jvm import JavaService
from labsupport.services.node import Node
from labsupport.services.wire import NotYet, connect, cql, gearman, http, kafka, resp, zookeeper

COPIES = {1: cql.ONE, 3: cql.ALL}


def floor(service: Service, bare) -> Callable[[], None]:
    """The nodes started at once, after what they need, then each asked until it answers."""
    ask = ASKS[type(service)]
    sources.bring(service.system)
    service._directory, service.program = bare.directory, sources.program(service.system)
    if isinstance(service, JavaService):
        service._get_ready()
    if isinstance(service, CeleryWorkers):
        service._broker_url, service._backend_url = service.broker.url, service.backend.url
    nodes = service._plan()
    bare.at_end.callback(ports.give_back, service._ports)
    if isinstance(service, CeleryWorkers):
        bare.at_end.callback(service._app.close)
    bare.nodes, bare.password = {node.name: node.port for node in nodes}, service.password
    for node in [*service._others, *nodes]:
        home = str(node._directory)
        environment = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", **node._variables}
        bare.prepared[node.name] = node._argv, node._directory, environment

    def timed() -> None:
        for other in service._others:
            bare.run(other.name)
            bare.answers(lambda timeout_s: connect(other.port, timeout_s).close())  # noqa: B023
        for node in nodes:
            bare.run(node.name)
        for node in nodes:
            bare.answers(functools.partial(ask, service, node))

    return timed


def ask_zookeeper(_service: ZooKeeper, node: Node, timeout_s: float) -> None:
    if "Mode" not in zookeeper.command(node.port, "srvr", timeout_s):
        raise NotYet
    zookeeper.session(node.port, timeout_s)


def ask_kafka(service: Kafka, node: Node, timeout_s: float) -> None:
    if len(kafka.metadata(node.port, timeout_s=timeout_s).brokers) < service.size:
        raise NotYet


def ask_cassandra(service: Cassandra, node: Node, timeout_s: float) -> None:
    cql.query(node.port, "SELECT cluster_name FROM system.local", timeout_s=timeout_s)
    peers = cql.query(node.port, "SELECT native_port FROM system.peers_v2", timeout_s=timeout_s)
    if len(peers) < service.size - 1:
        raise NotYet
    text = "SELECT keyspace_name FROM system_distributed.view_build_status"
    cql.query(node.port, text, consistency=COPIES[service.size], timeout_s=max(timeout_s, 0.5))


def ask_dynamodb(_service: DynamoDB, node: Node, _timeout_s: float) -> None:
    from labsupport.services.dynamodb import LIST_TABLES

    http.request(node.port, "/", {}, timeout_s=1.0, headers=LIST_TABLES)


def ask_redis_cluster(service: RedisCluster, node: Node, timeout_s: float) -> None:
    with resp.Resp(node.port, service.password, timeout_s=timeout_s) as client:
        state = client.call("CLUSTER", "INFO")
    if "cluster_state:ok" not in state or "cluster_slots_ok:16384" not in state:
        raise NotYet


def ask_gearman(_service: Gearman, node: Node, timeout_s: float) -> None:
    gearman.echo(node.port, timeout_s)
    gearman.ask(node.port, "getpid", timeout_s)


def ask_celery(service: CeleryWorkers, node: Node, timeout_s: float) -> None:
    if not service._app.control.ping(destination=[service._name_of(node.name)], timeout=max(timeout_s, 0.2)):
        raise NotYet


def ask_spark(service: Spark, node: Node, timeout_s: float) -> None:
    workers = http.request(service._page, "/json/", timeout_s=max(timeout_s, 0.2))["workers"]
    if not any(each["port"] == node.port and each["state"] == "ALIVE" for each in workers):
        raise NotYet


ASKS = {
    ZooKeeper: ask_zookeeper,
    Kafka: ask_kafka,
    Cassandra: ask_cassandra,
    DynamoDB: ask_dynamodb,
    RedisCluster: ask_redis_cluster,
    Gearman: ask_gearman,
    CeleryWorkers: ask_celery,
    Spark: ask_spark,
}
