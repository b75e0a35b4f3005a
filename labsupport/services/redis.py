"""Redis: one server, or a primary with replicas that sentinels watch and replace."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from labsupport.services import ports
from labsupport.services.base import Service
from labsupport.services.node import Node
from labsupport.services.wire import NotYet, resp


class Redis(Service):
    """A Redis server, or a primary with replicas and three sentinels; clients log in with `url`.

    It is `redis-server` where the machine has one, and Valkey otherwise: the open continuation of Redis, with the same
    protocol, commands and clients.

    Args:
        nodes: 1, or 3 for a primary and two replicas.
        port: the port of a single server; a free one is chosen without it.

    >>> with Redis() as server:                                   # doctest: +SKIP
    ...     client = redis.Redis.from_url(server.url)

    What it has acknowledged survives `kill` and `restart` (append-only file; https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
    """

    system = "redis"

    def _url_of(self, host: str, port: int) -> str:
        return f"redis://:{self.password}@{host}:{port}/0"

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(self.size)
        clients = self._ports if self._wanted_port is None else [self._wanted_port]
        return [self._server(index, port, clients[0]) for index, port in enumerate(clients)]

    def _server(self, index: int, port: int, primary: int) -> Node:
        name = f"redis-{index}"
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            "protected-mode yes",
            "daemonize no",
            f"dir {directory}",
            'logfile ""',
            'save ""',
            "appendonly yes",
            "appendfsync everysec",  # a killed process loses nothing; only a power cut could
            f"requirepass {self.password}",
            f"masterauth {self.password}",
        ]
        (directory / "redis.conf").write_text("\n".join(lines) + "\n")
        return Node(self, name, port, [self.program.path, str(directory / "redis.conf")], directory)

    def _probe(self, node: Node) -> None:
        _round_trip(node.port, self.password)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        _round_trip(address.port or 6379, address.password or "", address.username or "", address.hostname, 1.0)


def _round_trip(port: int, password: str, user: str = "", host: str = "127.0.0.1", timeout_s: float = 0.3) -> None:
    """Write, read and remove a key."""
    key, value = "lab:ready", os.urandom(4).hex()
    with resp.Resp(port, password, user=user, timeout_s=timeout_s, host=host) as client:
        answers = client.pipeline(("SET", key, value), ("GET", key), ("DEL", key))
    if answers[1] != value:
        raise NotYet(f"read {answers[1]!r} after writing {value!r}")
