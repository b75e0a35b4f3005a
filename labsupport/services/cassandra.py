"""Cassandra: one node, or a ring of three that divide the keys and copy them to each other."""

from __future__ import annotations

import errno
import json
from urllib.parse import urlsplit

from labsupport.errors import ServiceError, SetupError
from labsupport.services import ports
from labsupport.services.base import StartAgain
from labsupport.services.jvm import JavaService
from labsupport.services.node import Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, cql

MAIN = "org.apache.cassandra.service.CassandraDaemon"
# What Cassandra's own start script asks of Java 17: doors into the virtual machine that are closed to other programs.
EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
)
OPENS = (
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.nio",
)


# Where the relay listens for the nodes, on the ports on which they listen themselves at 127.0.0.1: what a node calls
# itself may differ from that in its address, but not in its port.
BEHIND = "127.0.0.2"


class Cassandra(PartedService, JavaService):
    """A Cassandra node, or a ring; a client starts from `contact_points` on `port`.

    Args:
        nodes: 1, or 3 (5) for a ring, each with an equal share of it.
        port: the port of a single node; a free one is chosen without it.
        partitions: whether the nodes can be cut off from each other (`partition`, `heal`).

    >>> with Cassandra(nodes=3) as ring:                          # doctest: +SKIP
    ...     session = cassandra.cluster.Cluster(ring.contact_points).connect()

    All nodes are at 127.0.0.1 and differ in their ports. There is no leader: whichever node a client asks coordinates
    the copies of a key. The settings are those of https://cassandra.apache.org/doc/5.0/cassandra/managing/configuration/.
    """

    system = "cassandra"
    heap_mb = 256
    other_mb = 300
    room_mb = 100
    fills_cores = True
    ready_timeout_s = 120.0
    options = (
        "-Xms128m",  # it locks in memory what it has at the start
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dslf4j.internal.verbosity=WARN",
        "-Dslf4j.provider=org.slf4j.simple.SimpleServiceProvider",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.log.org.apache.cassandra.gms.Gossiper=info",  # which nodes it takes for alive
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=500",
        # Else it follows from the ring's delay, and nodes that start together forget each other because they have not
        # joined after 500 ms. They meet again after a second, but whom a node has once forgotten it never again asks
        # for tables that it does not know (https://issues.apache.org/jira/browse/CASSANDRA-17883).
        "-Dcassandra.gossip_quarantine_delay_ms=60000",
        "-Dcassandra.superuser_setup_delay_ms=-1",
        "-Dcassandra.disable_tcactive_openssl=true",
        "-Dcassandra.libjemalloc=-",
        "-Dcassandra.memtable.row_overhead_size=180",  # what it finds out by experiments that take a second
    )

    @property
    def contact_points(self) -> list[tuple[str, int]]:
        """All nodes as Cassandra's clients want them."""
        return [(urlsplit(url).hostname, urlsplit(url).port) for url in self.urls]

    def leader(self, timeout_s: float = 0.0) -> Node:
        raise ServiceError(
            "Cassandra has no leader.",
            cause="every node that has a copy of a key takes writes to it",
            do="break any of .nodes; a client's session.cluster.metadata.get_replicas() knows who has copies of a key",
        )

    def _url_of(self, host: str, port: int) -> str:
        return f"cassandra://{host}:{port}"

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(2 * self.size)
        clients, self._peers = self._ports[: self.size], self._ports[self.size :]
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        self._known_at = BEHIND if self.partitions else ports.HOST
        try:
            self._fronts(self._peers, host=BEHIND)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise StartAgain("its ports were taken") from None
            raise SetupError(
                "The nodes of Cassandra cannot be cut off from each other on this machine.",
                cause=f"that takes a second loopback address, {BEHIND}, which only Linux has from the start",
                do=f"run: sudo ifconfig lo0 alias {BEHIND}; or start it without partitions=True",
            ) from None
        return [self._member(index, port) for index, port in enumerate(clients)]

    def _member(self, index: int, port: int) -> Node:
        directory = self._directory / f"cassandra-{index}"
        directory.mkdir(mode=0o700)
        seeds = ",".join(f"{self._known_at}:{peer}" for peer in self._peers)
        provider = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
        settings = {
            "cluster_name": self._directory.name,
            "num_tokens": 1,
            "initial_token": str(-(2**63) + 2**64 * index // self.size),
            "auto_bootstrap": False,  # nobody has anything yet that a new node should copy
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [provider],
            "listen_address": "127.0.0.1",
            "broadcast_address": self._known_at,
            "rpc_address": "127.0.0.1",
            "storage_port": self._peers[index],
            "native_transport_port": port,
            "commitlog_sync": "batch",  # what it acknowledged survives a kill; its default loses some seconds of it
            "commitlog_segment_size": "4MiB",
            "commitlog_total_space": "32MiB",
            "memtable_heap_space": "32MiB",
            "memtable_offheap_space": "32MiB",
            "file_cache_size": "16MiB",
            "networking_cache_size": "16MiB",
            "key_cache_size": "4MiB",
            "concurrent_reads": 4,
            "concurrent_writes": 4,
            "concurrent_counter_writes": 4,
            "native_transport_max_threads": 8,
            "auto_snapshot": False,
            "hinted_handoff_enabled": True,
        }
        settings |= {
            f"{name}_directory": str(directory / name) for name in ("commitlog", "saved_caches", "hints", "cdc_raw")
        }
        settings["data_file_directories"] = [str(directory / "data")]
        (directory / "cassandra.yaml").write_text(json.dumps(settings, indent=1))  # JSON is YAML
        more = (
            f"-Dcassandra.config=file://{directory}/cassandra.yaml",
            f"-Dcassandra.storagedir={directory}",
            f"-Dcassandra.logdir={directory}",
        )
        return Node(self, directory.name, port, self._java(directory, MAIN, options=more), directory)

    def _meet(self) -> None:
        for node, peer in zip(self._nodes, self._peers, strict=True):
            self._until_listening(peer, f"{node.name} to be met")
        self._eased.set()  # they sleep for a second, before they look at what the others told them

    # ---- asking

    def _probe(self, node: Node, timeout_s: float) -> None:
        """It knows the others, and reads a table of the cluster's own from each of the three copies that there are."""
        name = cql.query(node.port, "SELECT cluster_name FROM system.local", timeout_s=timeout_s)[0][0]
        if name != self._directory.name.encode():
            raise StartAgain("another Cassandra had taken a port")
        peers = cql.query(node.port, "SELECT native_port FROM system.peers_v2", timeout_s=timeout_s)
        if len(peers) < self.size - 1:
            raise NotYet(f"it knows {len(peers)} of {self.size - 1} others")
        if all(each.state == "running" for each in self._nodes):
            text = "SELECT keyspace_name FROM system_distributed.view_build_status"
            copies = {1: cql.ONE, 2: cql.QUORUM}.get(self.size, cql.ALL)
            cql.query(node.port, text, consistency=copies, timeout_s=max(timeout_s, 0.5))

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        cql.query(address.port or 9042, "SELECT key FROM system.local", timeout_s=1.0, host=address.hostname)
