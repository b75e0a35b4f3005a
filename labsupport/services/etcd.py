"""etcd: one member, or a cluster that agrees by Raft."""

from __future__ import annotations

import base64
import functools
from urllib.parse import urlsplit

from labsupport.services import ports
from labsupport.services.base import StartAgain
from labsupport.services.node import Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, http, patience

# Heartbeat and election timeout in ms. A single member loses an election to nobody. Three at 50/500 replace a killed
# leader in 0.6 s and keep theirs on a machine whose cores are all busy; at 10/100 they do not.
ALONE, TOGETHER = (10, 100), (50, 500)
READY_KEY = base64.b64encode(b"lab/ready").decode()


class Etcd(PartedService):
    """An etcd member, or a cluster; clients connect to `url` (gRPC and its JSON gateway on one port, no password).

    Args:
        nodes: 1, or 3 (5) for a cluster.
        port: the port of a single member; a free one is chosen without it.
        partitions: whether the members can be cut off from each other (`partition`, `heal`).

    >>> with Etcd(nodes=3) as etcd:                               # doctest: +SKIP
    ...     etcd.leader().kill()

    The flags are those of https://etcd.io/docs/v3.5/op-guide/configuration/.
    """

    system = "etcd"
    room_mb = 130  # two files of 64 MB for its log, made in advance

    def _url_of(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def _plan(self) -> list[Node]:
        drawn = ports.draw(2 * self.size)
        self._ports = list(drawn)
        clients, self._peers = drawn[: self.size], drawn[self.size :]
        self._known_at = self._fronts(self._peers)
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        everyone = ",".join(f"etcd-{index}=http://127.0.0.1:{peer}" for index, peer in enumerate(self._known_at))
        return [self._member(index, port, everyone) for index, port in enumerate(clients)]

    def _member(self, index: int, port: int, everyone: str) -> Node:
        name = f"etcd-{index}"
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        heartbeat_ms, election_ms = ALONE if self.size == 1 else TOGETHER
        flags = {
            "name": name,
            "data-dir": directory / "data",
            "listen-client-urls": f"http://127.0.0.1:{port}",
            "advertise-client-urls": f"http://127.0.0.1:{port}",
            "listen-peer-urls": f"http://127.0.0.1:{self._peers[index]}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{self._known_at[index]}",
            "initial-cluster": everyone,
            "initial-cluster-state": "new",
            "initial-cluster-token": self._directory.name,
            "heartbeat-interval": heartbeat_ms,
            "election-timeout": election_ms,
            "logger": "zap",
            "log-level": "warn",
        }
        argv = [self.program.path, *(f"--{flag}={value}" for flag, value in flags.items()), "--unsafe-no-fsync"]
        return Node(self, name, port, argv, directory)

    def _bring_up(self) -> None:
        """One after the other."""
        for node, peer in zip(self._nodes, self._peers, strict=True):
            node._launch()
            if node is not self._nodes[-1]:
                # A new member asks the others whether the cluster exists; a peer that has its port but does not serve
                # it yet would stall that question for a second (https://github.com/etcd-io/etcd/issues/4387).
                timeouts = patience()
                self._until(lambda: http.request(peer, "/version", timeout_s=next(timeouts)), f"{node.name} to be met")  # noqa: B023
        clusters = {self._until(self._probe_of(node), f"{node.name} to answer") for node in self._nodes}
        members = self._until(functools.partial(_members, self._nodes[0]), "its members")
        # etcd asks for no password: a stranger may have taken a port before ours could, and answer in its place.
        if len(clusters) > 1 or members != {f"http://127.0.0.1:{peer}" for peer in self._known_at}:
            raise StartAgain("another etcd had taken a port")

    def _probe(self, node: Node, timeout_s: float) -> str:
        """A linearizable read: it needs a leader that has heard from a majority, and changes nothing.

        While most members are down, one that is started again answers only them: it asks clients to wait until there
        is a leader.

        Returns:
            The identity of its cluster.
        """
        if self._most_run():
            answer = http.request(node.port, "/v3/kv/range", {"key": READY_KEY}, timeout_s=timeout_s)
            return answer["header"]["cluster_id"]
        return http.request(self._peers[self._nodes.index(node)], "/version", timeout_s=timeout_s)["etcdcluster"]

    def _find_leader(self) -> Node | None:
        return self._latest_leader(_term_led_by)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        http.request(address.port, "/v3/kv/range", {"key": READY_KEY}, timeout_s=1.0, host=address.hostname)


def _term_led_by(node: Node) -> int:
    """The term in which a member says that it leads."""
    status = http.request(node.port, "/v3/maintenance/status", {})
    if status.get("leader", "0") != status["header"]["member_id"]:
        raise NotYet("it follows")
    return int(status["raftTerm"])


def _members(node: Node) -> set[str]:
    """Where the members of a node's cluster talk to each other."""
    members = http.request(node.port, "/v3/cluster/member/list", {}, timeout_s=1.0)["members"]
    return {url for member in members for url in member["peerURLs"]}
