"""NATS with JetStream: one server, or a cluster whose streams are replicated by Raft."""

from __future__ import annotations

from urllib.parse import urlsplit

from labsupport.services import ports
from labsupport.services.base import Service
from labsupport.services.node import Node
from labsupport.services.wire import NotYet, http
from labsupport.services.wire import nats as wire

# Without limits the server offers itself three quarters of the machine's memory and the whole disk.
JETSTREAM = 'jetstream {{ store_dir: "{directory}/jetstream", max_mem: 64MB, max_file: 256MB }}'


class Nats(Service):
    """A NATS server with JetStream, or a cluster of them; clients log in with `url`.

    Args:
        nodes: 1, or 3 (5) for a cluster whose streams can have as many replicas.
        port: the port of a single server; a free one is chosen without it.

    >>> with Nats() as nats:                                      # doctest: +SKIP
    ...     client = await connect(nats.url)

    The configuration is that of https://docs.nats.io/running-a-nats-service/configuration, clustering and JetStream. A stream's
    leader that is killed is replaced after 4 to 9 s: the server's election timeout, which has no setting. One that is
    terminated hands over within 0.1 s.
    """

    system = "nats"
    user = "lab"

    def _url_of(self, host: str, port: int) -> str:
        return f"nats://{self.user}:{self.password}@{host}:{port}"

    @property
    def urls(self) -> list[str]:
        """The addresses of all nodes, for a client that goes on with another when one dies."""
        return [node.url for node in self.nodes]

    def _plan(self) -> list[Node]:
        count = self.size
        drawn = ports.draw(2 * count + (count if count > 1 else 0))
        self._ports = list(drawn)
        clients, monitors, routes = drawn[:count], drawn[count : 2 * count], drawn[2 * count :]
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        self._monitors = {f"nats-{index}": port for index, port in enumerate(monitors)}
        return [self._node(index, clients[index], monitors[index], routes) for index in range(count)]

    def _node(self, index: int, port: int, monitor: int, routes: list[int]) -> Node:
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
            peers = [f'"nats-route://route:{self.password}@127.0.0.1:{other}"' for other in routes if other != routes[index]]
            lines.append(
                f'cluster {{ name: lab, listen: "127.0.0.1:{routes[index]}", routes: [{", ".join(peers)}], '
                f'authorization {{ user: route, password: "{self.password}" }} }}'
            )
        (directory / "nats.conf").write_text("\n".join(lines) + "\n")
        return Node(self, name, port, [self.program.path, "-c", str(directory / "nats.conf")], directory)

    def _probe(self, node: Node) -> None:
        with wire.Nats(node.port, self.user, self.password) as client:
            client.jetstream("INFO", timeout_s=0.1)  # before there is a leader nobody answers, not even with an error
            client.echo()

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        with wire.Nats(
            address.port, address.username or "", address.password or "", timeout_s=1.0, host=address.hostname
        ) as client:
            client.jetstream("INFO")

    def monitor(self, path: str, node: Node | None = None) -> dict:
        """What a node's monitoring port says, for example ``monitor("/connz")`` (https://docs.nats.io, monitoring)."""
        node = node or next((node for node in self.nodes if node.state == "running"), self.nodes[0])
        if node.name not in self._monitors:
            raise NotYet("a server that is not ours: we do not know its monitoring port")
        return http.request(self._monitors[node.name], path, timeout_s=1.0)
