"""ZooKeeper: one server, or an ensemble that agrees by its protocol Zab."""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from labsupport.services import ports
from labsupport.services.base import StartAgain
from labsupport.services.jvm import JavaService
from labsupport.services.node import Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, zookeeper

MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
# The unit of its times: a session lasts 2 to 20 ticks, and who has not been heard for `syncLimit` ticks is gone.
TICK_MS, SYNC_TICKS = 500, 4


class ZooKeeper(PartedService, JavaService):
    """A ZooKeeper server, or an ensemble; a client connects to `hosts`.

    Args:
        nodes: 1, or 3 (5) for an ensemble.
        port: the port of a single server; a free one is chosen without it.
        partitions: whether the servers can be cut off from each other (`partition`, `heal`).

    >>> with ZooKeeper(nodes=3) as zookeeper:                     # doctest: +SKIP
    ...     client = kazoo.client.KazooClient(zookeeper.hosts)

    The settings are those of https://zookeeper.apache.org/doc/r3.9.5/zookeeperAdmin.html#sc_configuration.
    """

    system = "zookeeper"
    heap_mb = 64
    other_mb = 40
    room_mb = 5
    one_archive = False  # an ensemble needs many classes more
    options = (
        "-Dzookeeper.forceSync=no",
        "-Dzookeeper.leaderConnectDelayDuringRetryMs=10",
        "-Dzookeeper.fastleader.minNotificationInterval=50",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    )

    @property
    def hosts(self) -> str:
        """All servers as ZooKeeper's clients want them: "127.0.0.1:2181,127.0.0.1:2182"."""
        return ",".join(urlsplit(url).netloc for url in self.urls)

    def _url_of(self, host: str, port: int) -> str:
        return f"zookeeper://{host}:{port}"

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(3 * self.size)
        clients, peers, elections = (self._ports[index::3] for index in range(3))
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        known = list(zip(self._fronts(peers), self._fronts(elections, rewrite=self._as_known), strict=True))
        real = list(zip(peers, elections, strict=True))
        self._known_at = dict(zip(elections, (election for _, election in known), strict=True))
        return [
            # Of itself a server has to know where it listens, of the others where they are reached.
            self._server(index, port, [*known[:index], real[index], *known[index + 1 :]])
            for index, port in enumerate(clients)
        ]

    def _as_known(self, said: bytes) -> bytes:
        """What a server says of itself to another, who calls it back there: where it is reached."""
        for own, known in self._known_at.items():
            said = said.replace(b"127.0.0.1:%d" % own, b"127.0.0.1:%d" % known)
        return said

    def _server(self, index: int, port: int, ensemble: list[tuple[int, int]]) -> Node:
        directory = self._directory / f"zookeeper-{index}"
        data = directory / "data"
        data.mkdir(mode=0o700, parents=True)
        (data / "myid").write_text(f"{index + 1}\n")
        settings = [
            f"tickTime={TICK_MS}",
            "initLimit=20",
            f"syncLimit={SYNC_TICKS}",
            f"dataDir={data}",
            f"clientPort={port}",
            "clientPortAddress=127.0.0.1",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "preAllocSize=64",
        ]
        if self.size > 1:
            settings += [
                f"server.{number}=127.0.0.1:{peer}:{election}"
                for number, (peer, election) in enumerate(ensemble, start=1)
            ]
        (directory / "zoo.cfg").write_text("\n".join(settings) + "\n")
        return Node(self, directory.name, port, self._java(directory, MAIN, str(directory / "zoo.cfg")), directory)

    def _bring_up(self) -> None:
        super()._bring_up()
        for node in self._nodes:
            # It asks for no password: a stranger may have taken a port before ours could, and answer in its place.
            place = self._until(functools.partial(zookeeper.command, node.port, "conf"), "its settings")["dataDir"]
            if not place.startswith(str(self._directory)):
                raise StartAgain("another ZooKeeper had taken a port")

    def _probe(self, node: Node, timeout_s: float) -> None:
        """A session and a read through the leader; while most servers are down, none serves, and being there is all."""
        state = zookeeper.command(node.port, "srvr", timeout_s)
        if self._most_run():
            if "Mode" not in state:  # it would close a session that comes now, and write a page about it to its log
                raise NotYet("it waits for the others")
            zookeeper.session(node.port, timeout_s)

    def _find_leader(self) -> Node | None:
        return self._latest_leader(_epoch_led_by)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        zookeeper.session(address.port or 2181, 1.0, address.hostname)


def _epoch_led_by(node: Node) -> int:
    """The epoch in which a server says that it leads: the upper half of a transaction's number."""
    state = zookeeper.command(node.port, "srvr")
    if state.get("Mode") not in ("leader", "standalone"):
        raise NotYet("it follows")
    return int(state["Zxid"], 16) >> 32
