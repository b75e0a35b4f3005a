"""Kafka: one broker, or three that replicate partitions and elect their controller by Raft (KRaft)."""

from __future__ import annotations

import base64
import functools
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from labsupport.errors import SetupError
from labsupport.services import jars, ports, sources, tansu
from labsupport.services.base import StartAgain
from labsupport.services.jvm import JavaService
from labsupport.services.node import Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, kafka

if TYPE_CHECKING:
    from labsupport.services.gauges import Shares

FEATURES = Path(__file__).with_name("kafka.checkpoint")  # written by `kafka-storage format` of the pinned version


class Kafka(PartedService, JavaService):
    """A Kafka broker, or a cluster whose nodes are brokers and controllers; clients start from `bootstrap_servers`.

    Args:
        nodes: 1, or 3 (5) for a cluster.
        port: the port of a single broker; a free one is chosen without it.
        partitions: whether the brokers, each with its controller, can be cut off from each other (`partition`, `heal`).

    >>> with Kafka(nodes=3) as kafka:                             # doctest: +SKIP
    ...     producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    ...     kafka.leader_of("orders").kill()

    Where no Java or not its JARs can be had, a single broker is Tansu, another program that speaks its protocol;
    it says so, and what it cannot do.

    A topic exists when it has been created: there is none by accident. The settings are those of
    https://kafka.apache.org/43/configuration/broker-configs/.
    """

    system = "kafka"
    heap_mb = 192
    other_mb = 130
    room_mb = 60
    options = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)

    @property
    def title(self) -> str:
        return tansu.TITLE if tansu.is_it(self.program) else super().title

    @property
    def bootstrap_servers(self) -> str:
        """All brokers as Kafka's clients want them: "127.0.0.1:9092,127.0.0.1:9093"."""
        return ",".join(urlsplit(url).netloc for url in self.urls)

    def _url_of(self, host: str, port: int) -> str:
        return f"kafka://{host}:{port}"

    def _find_program(self) -> sources.Program:
        try:
            found = super()._find_program()
            jars.fetch(self.system)
            return found
        except SetupError as error:
            if self.size > 1 or self.partitions:
                raise
            return tansu.program(error)

    def _get_ready(self) -> None:
        if not tansu.is_it(self.program):
            super()._get_ready()

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(3 * self.size)
        clients, self._controllers, self._peers = (self._ports[index::3] for index in range(3))
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        self._cluster = _identity()
        if tansu.is_it(self.program):
            directory = self._directory / "kafka-0"
            directory.mkdir(mode=0o700)
            argv = tansu.command_line(self.program, self._cluster, clients[0])
            return [Node(self, directory.name, clients[0], argv, directory, RUST_LOG="warn")]
        self._known_at = list(zip(self._fronts(self._controllers), self._fronts(self._peers), strict=True))
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, (port, _) in enumerate(self._known_at, start=1))
        return [self._broker(index, port, voters) for index, port in enumerate(clients)]

    def _broker(self, index: int, port: int, voters: str) -> Node:
        directory = self._directory / f"kafka-{index}"
        data = directory / "data"
        data.mkdir(mode=0o700, parents=True)
        # What `kafka-storage format` writes, in a Java that takes as long to start as the broker: who it is, and with
        # which features a new cluster begins. Without these it begins with those of the oldest Kafka.
        identity = {"version": 1, "cluster.id": self._cluster, "node.id": index + 1, "directory.id": _identity()}
        (data / "meta.properties").write_text(_lines(identity))
        shutil.copyfile(FEATURES, data / "bootstrap.checkpoint")
        copies = min(self.size, 3)
        settings = {
            "process.roles": "broker,controller",
            "node.id": index + 1,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{self._controllers[index]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": data,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            # The topics it makes for itself, with the partitions that a machine needs which does nothing else.
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "share.coordinator.state.topic.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": max(1, copies - 1),
            "log.index.size.max.bytes": 1 << 20,
            "log.cleaner.dedupe.buffer.size": 2 << 20,
            "num.network.threads": 1,
            "num.io.threads": 2,
            # Times for a lesson: a dead broker is noticed after 3 s, a dead controller after 1.
            "broker.heartbeat.interval.ms": 300,
            "broker.session.timeout.ms": 3000,
            "controller.quorum.election.timeout.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1000,
            "controller.socket.timeout.ms": 2000,  # or brokers wait half a minute for a frozen controller
            "replica.lag.time.max.ms": 3000,
            "replica.socket.timeout.ms": 3000,  # or copies wait half a minute for a leader that is frozen or cut off
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
        }
        if self.partitions:  # what the brokers tell each other goes another way than what clients tell them
            controller, peer = self._known_at[index]
            settings["listeners"] += f",PEERS://127.0.0.1:{self._peers[index]}"
            # A controller that is elected tells the others where it is, and they forget what the list of voters says.
            settings["advertised.listeners"] += f",CONTROLLER://127.0.0.1:{controller},PEERS://127.0.0.1:{peer}"
            settings["inter.broker.listener.name"] = "PEERS"
            settings["listener.security.protocol.map"] = ",".join(
                f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", "PEERS")
            )
        (directory / "server.properties").write_text(_lines(settings))
        argv = self._java(directory, "kafka.Kafka", str(directory / "server.properties"))
        return Node(self, directory.name, port, argv, directory)

    # ---- asking

    def _probe(self, node: Node, timeout_s: float) -> None:
        """It knows every broker of the cluster; while most nodes are down only its controller answers, and waits."""
        if not self._most_run():
            kafka.versions(self._controllers[self._nodes.index(node)], timeout_s=timeout_s)
            return
        found = kafka.metadata(node.port, timeout_s=timeout_s)
        if found.cluster != self._cluster:
            raise StartAgain("another Kafka had taken a port")
        up = {each.port for each in self._nodes if each.state == "running"}
        if not up <= set(found.brokers.values()):
            raise NotYet(f"it knows {len(found.brokers)} of {len(up)} brokers")

    def _find_leader(self) -> Node | None:
        """The controller that leads the others, in the latest epoch: one that was frozen may not know of the next."""
        if tansu.is_it(self.program):
            return super()._find_leader()
        return self._latest(self._answers(lambda node: kafka.controller(self._controllers[self._nodes.index(node)])))

    def leader_of(self, topic: str, partition: int = 0, timeout_s: float = 15.0) -> Node:
        """The broker that leads a partition: it takes what is produced to it; waits for an election to end.

        Every broker that is not cut off from it knows it by then. A client that asks one which does not yet, or one
        that is cut off, is sent to the former leader, and what it produces there with ``acks=all`` waits until it
        times out: a leader that is cut off does not know that it leads no more.

        Raises:
            ServiceError: there is none after `timeout_s`, or no such topic.
        """
        return self._wait_for_leader(functools.partial(self._find_leader_of, topic, partition), timeout_s)

    def in_sync(self, topic: str, partition: int = 0) -> list[Node]:
        """The brokers whose copy of a partition is complete, as its leader sees it."""
        leader = self.leader_of(topic, partition)

        def ask() -> list[int]:
            return kafka.metadata(leader.port, topic, timeout_s=1.0).in_sync[topic, partition]

        numbers = self._until(ask, "the list of copies", timeout_s=15.0, watch=())
        return [self._numbered(number) for number in sorted(numbers)]

    def assignment(self, topic: str, group: str) -> Callable[[], Shares]:
        """A function that looks who of a group of consumers reads which partition, and how far the group is behind.

        Args:
            topic: the topic whose partitions are shared out.
            group: the consumers' group.
        """
        from labsupport.services.gauges import assignment

        self._must_run()
        return assignment(self, topic, group)

    def _find_leader_of(self, topic: str, partition: int) -> Node | None:
        nobody = -1, -1  # as far as a broker knows that has not heard of the topic
        told = self._answers(
            lambda node: (node.name, kafka.metadata(node.port, topic).leaders.get((topic, partition), nobody))
        )
        leader = self._latest([answer for _, answer in told])
        apart = {name for way in self.cuts if leader and leader.name in way for name in way if name != leader.name}
        return leader if len({answer for name, answer in told if name not in apart}) == 1 else None

    def _latest(self, answers: Sequence[tuple[int, int]]) -> Node | None:
        """The node that leads by the answers of all: each an epoch and a number, of which the latest epoch counts."""
        _, number = max(answers, default=(0, -1))
        leader = self._numbered(number) if number > 0 else None  # -1: nobody leads
        return leader if leader and leader.state == "running" else None

    def _numbered(self, number: int) -> Node:
        return self._nodes[(number - 1) % self.size]  # Tansu has a number of its own choice

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        kafka.metadata(address.port or 9092, timeout_s=1.0, host=address.hostname)


def _identity() -> str:
    """16 bytes as Kafka writes them."""
    return base64.urlsafe_b64encode(b"L" + secrets.token_bytes(15)).decode().rstrip("=")


def _lines(settings: dict[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())
