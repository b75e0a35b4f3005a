"""NATS with JetStream: one server, or a cluster whose streams are replicated by Raft."""

from __future__ import annotations

import functools
import json
from urllib.parse import urlsplit

from labsupport.errors import ServiceError
from labsupport.services import ports
from labsupport.services.node import Foreign, Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, http, patience
from labsupport.services.wire import nats as wire

# Without limits the server offers itself three quarters of the machine's memory and the whole disk.
JETSTREAM = 'jetstream {{ store_dir: "{directory}/jetstream", max_mem: 64MB, max_file: 256MB }}'
READY = "lab-ready"  # our stream, gone before a lesson begins
ROUTES = 4  # between two servers: a pool of three, and one for the system's account


class Nats(PartedService):
    """A NATS server with JetStream, or a cluster of them; clients log in with `url`.

    Args:
        nodes: 1, or 3 (5) for a cluster whose streams can have as many replicas.
        port: the port of a single server; a free one is chosen without it.
        partitions: whether the servers can be cut off from each other (`partition`, `heal`).

    >>> with Nats() as nats:                                      # doctest: +SKIP
    ...     client = await connect(nats.url)

    The configuration is that of https://docs.nats.io/running-a-nats-service/configuration, clustering and JetStream.
    A stream's leader that is killed is replaced after 4 to 9 s: the server's election timeout, which has no setting.
    One that is terminated hands over within 0.1 s.
    """

    system = "nats"
    user = "lab"

    def _url_of(self, host: str, port: int) -> str:
        return f"nats://{self.user}:{self.password}@{host}:{port}"

    def _plan(self) -> list[Node]:
        count = self.size
        drawn = ports.draw(2 * count + (count if count > 1 else 0))
        self._ports = list(drawn)
        clients, monitors, routes = drawn[:count], drawn[count : 2 * count], drawn[2 * count :]
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        known_at = self._fronts(routes)
        self._monitors = {f"nats-{index}": port for index, port in enumerate(monitors)}
        return [self._node(index, clients[index], monitors[index], routes, known_at) for index in range(count)]

    def _node(self, index: int, port: int, monitor: int, routes: list[int], known_at: list[int]) -> Node:
        name = f"nats-{index}"
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        lines = [
            f"server_name: {name}",
            f'listen: "127.0.0.1:{port}"',
            f'http: "127.0.0.1:{monitor}"',
            f'authorization {{ user: {self.user}, password: "{self.password}" }}',
            JETSTREAM.format(directory=directory),
        ]
        if routes:
            own = known_at[index]
            peers = [f'"nats-route://route:{self.password}@127.0.0.1:{each}"' for each in known_at if each != own]
            lines.append(
                f'cluster {{ name: lab, listen: "127.0.0.1:{routes[index]}", cluster_advertise: "127.0.0.1:{own}", '
                f"routes: [{', '.join(peers)}], "
                f'authorization {{ user: route, password: "{self.password}" }} }}'
            )
        (directory / "nats.conf").write_text("\n".join(lines) + "\n")
        return Node(self, name, port, [self.program.path, "-c", str(directory / "nats.conf")], directory)

    def _meet(self) -> None:
        if self.size > 1:
            # A server that meets another anew takes it for offline until it hears its statistics, and places no stream
            # there: that is over when a stream is replicated on a mesh to which no route is added any more.
            self._until(self._check_mesh, "routes between all servers")
            timeouts = patience()
            self._until(lambda: self._replicate(next(timeouts)), "a replicated stream")

    def _check_mesh(self) -> None:
        for node in self._nodes:
            if (routes := self.monitor("/routez", node)["num_routes"]) < ROUTES * (self.size - 1):
                raise NotYet(f"{node.name} has {routes} routes")

    def _replicate(self, timeout_s: float) -> None:
        """Create a stream with a replica on every node, publish to it, read the message back, and delete it."""
        subject = "lab.ready"
        with wire.Nats(self._nodes[0].port, self.user, self.password, timeout_s=timeout_s) as client:
            client.jetstream("INFO", timeout_s=timeout_s)  # before there is a leader nobody answers, not even "no"
            wanted = {"name": READY, "subjects": [subject], "num_replicas": min(self.size, 5), "storage": "memory"}
            try:
                client.jetstream(f"STREAM.CREATE.{READY}", wanted)
            except NotYet as answer:
                if "already in use" not in str(answer):  # by an attempt of ours that was answered too late
                    raise
            stored = json.loads(client.request(subject, b"ready"))
            if "seq" not in stored:
                raise NotYet(str(stored))
            client.jetstream(f"STREAM.MSG.GET.{READY}", {"seq": stored["seq"]})
            client.jetstream(f"STREAM.DELETE.{READY}")

    def _probe(self, node: Node, timeout_s: float) -> None:
        with wire.Nats(node.port, self.user, self.password, timeout_s=timeout_s) as client:
            if self._most_run():
                client.jetstream("INFO", timeout_s=timeout_s)
            client.echo()

    def _rejoin(self, node: Node, timeout_s: float) -> None:
        super()._rejoin(node, timeout_s)
        if self.size > 1 and self._most_run():  # its copies of the streams have caught up
            self._until(functools.partial(self._has_caught_up, node), "its streams", timeout_s=timeout_s, watch=[node])

    def _has_caught_up(self, node: Node) -> None:
        if not self.monitor("/jsz", node).get("meta_cluster", {}).get("leader"):
            raise NotYet("it has not heard from the leader")
        self.monitor("/healthz", node)  # second, because it notes every "no" in the log

    def leader(self, stream: str | None = None, timeout_s: float = 15.0) -> Node:
        """The node that leads the cluster (it decides where streams live), or the one that leads a stream.

        Args:
            stream: the name of a stream.
            timeout_s: an election takes 4 to 9 s.

        Raises:
            ServiceError: there is none in that time, or no such stream.
        """
        if stream is None:
            return super().leader(timeout_s)
        return self._wait_for_leader(functools.partial(self._find_stream_leader, stream), timeout_s)

    def _find_leader(self) -> Node | None:
        if self.size == 1:
            return super()._find_leader()
        if not self._most_run():
            return None
        name = self.monitor("/jsz").get("meta_cluster", {}).get("leader")
        return self._running_node(name)

    def _find_stream_leader(self, stream: str) -> Node | None:
        with wire.Nats(self._running().port, self.user, self.password) as client:
            try:
                answer = client.jetstream(f"STREAM.INFO.{stream}", timeout_s=0.5)
            except NotYet as refusal:
                if "stream not found" in str(refusal):
                    raise ServiceError(
                        f"There is no stream {stream!r}.", do="create it first, or check its name"
                    ) from None
                raise
        return self._running_node(answer.get("cluster", {}).get("leader") or self._nodes[0].name)

    def _running_node(self, name: str | None) -> Node | None:
        return next((node for node in self._nodes if node.name == name and node.state == "running"), None)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        with wire.Nats(
            address.port, address.username or "", address.password or "", timeout_s=1.0, host=address.hostname
        ) as client:
            client.jetstream("INFO")

    def monitor(self, path: str, node: Node | None = None) -> dict:
        """What a node's monitoring port says, for example ``monitor("/connz")`` (https://docs.nats.io, monitoring)."""
        node = node or self._running()
        if isinstance(node, Foreign):
            raise ServiceError(
                f"The monitoring port of {node.url} is not known.", cause="somebody else started that server"
            )
        return http.request(self._monitors[node.name], path, timeout_s=1.0)
