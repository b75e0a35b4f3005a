"""Redis: one server, or a primary with replicas that sentinels watch and replace (see `redis_cluster` for slots)."""

from __future__ import annotations

import functools
import os
import secrets
from urllib.parse import urlsplit

from labsupport.services import ports
from labsupport.services.node import Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, patience, resp

# A killed primary is replaced 2.7 s later: 1 s until the sentinels call it down, 1.7 s for their vote. At 300 ms they
# are right as well on a busy machine, but a lesson could no longer freeze a primary for a moment.
DOWN_AFTER_MS = 1000
SENTINELS, QUORUM = 3, 2


class Redis(PartedService):
    """A Redis server, or a primary with replicas and three sentinels; clients log in with `url`.

    It is `redis-server` where the machine has one, and Valkey otherwise: the open continuation of Redis, with the
    same protocol, commands and clients.

    Args:
        nodes: 1, or 3 for a primary and two replicas.
        port: the port of a single server; a free one is chosen without it.
        partitions: whether servers and sentinels can be cut off from each other (`partition`, `heal`).

    Attributes:
        primary_name: the name under which the sentinels know the primary.

    >>> with Redis() as server:                                   # doctest: +SKIP
    ...     client = redis.Redis.from_url(server.url)

    >>> with Redis(nodes=3) as server:                            # doctest: +SKIP
    ...     sentinel = redis.Sentinel(server.sentinel_addresses, sentinel_kwargs={"password": server.password},
    ...                               password=server.password)
    ...     primary = sentinel.master_for(server.primary_name)

    What a server has acknowledged survives its `kill` and `restart`, by its append-only file. What a primary has not
    yet sent to its replicas does not survive a failover
    (https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/). A former primary that is restarted
    joins as a replica of the new one.
    """

    system = "redis"
    primary_name = "lab"

    def _url_of(self, host: str, port: int) -> str:
        return f"redis://:{self.password}@{host}:{port}/0"

    @property
    def sentinels(self) -> list[Node]:
        """The three sentinels of a cluster: nodes like the others, for a lesson that breaks those."""
        self._must_run()
        return list(self._others)

    @property
    def sentinel_addresses(self) -> list[tuple[str, int]]:
        """Host and port of each sentinel, as client libraries want them."""
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    # ---- starting

    def _plan(self) -> list[Node]:
        count = self.size
        self._ports = ports.draw(count + (SENTINELS if count > 1 else 0))
        servers, sentinels = self._ports[:count], self._ports[count:]
        if self._wanted_port is not None:
            servers = [self._wanted_port]
        fronts = [*self._fronts(servers), *self._fronts(sentinels, "sentinel")]
        self._known_at = dict(zip([*servers, *sentinels], fronts, strict=True))
        nodes = [self._server(index, port, servers[0] if index else None) for index, port in enumerate(servers)]
        identities = [secrets.token_hex(20) for _ in sentinels]
        self._planned_sentinels = [
            self._sentinel(index, servers, sentinels, identities) for index in range(len(sentinels))
        ]
        return nodes

    def _server(self, index: int, port: int, primary: int | None) -> Node:
        lines = self._settings(port)
        if primary is not None:
            lines.append(f"replicaof 127.0.0.1 {self._known_at[primary]}")
        if self.size > 1:
            lines.append(f"replica-announce-port {self._known_at[port]}")
        return self._node(f"redis-{index}", port, lines)

    def _settings(self, port: int) -> list[str]:
        """The configuration of a server that keeps data."""
        lines = [
            f"port {port}",
            'save ""',
            "appendonly yes",
            "appendfsync everysec",  # a killed process loses nothing; only a power cut could
            f"masterauth {self.password}",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1",
            "replica-announce-ip 127.0.0.1",
        ]
        if self.title == "Valkey":
            # It would download to disk, and look only once a second whether that is done.
            lines.append("repl-diskless-load on-empty-db")
        return lines

    def _sentinel(self, index: int, servers: list[int], sentinels: list[int], identities: list[str]) -> Node:
        name = self.primary_name
        lines = [
            f"port {sentinels[index]}",
            f"sentinel myid {identities[index]}",
            "sentinel announce-ip 127.0.0.1",
            f"sentinel announce-port {self._known_at[sentinels[index]]}",
            f"sentinel monitor {name} 127.0.0.1 {self._known_at[servers[0]]} {QUORUM}",
            f"sentinel auth-pass {name} {self.password}",
            f"sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {name} 5000",
            f"sentinel parallel-syncs {name} {self.size}",
        ]
        # They know each other and the replicas from the start; to find out would take them 2 s, or 10.
        lines += [f"sentinel known-replica {name} 127.0.0.1 {self._known_at[replica]}" for replica in servers[1:]]
        lines += [
            f"sentinel known-sentinel {name} 127.0.0.1 {self._known_at[port]} {identity}"
            for port, identity in zip(sentinels, identities, strict=True)
            if port != sentinels[index]
        ]
        return self._node(f"sentinel-{index}", sentinels[index], lines, "--sentinel")

    def _node(self, name: str, port: int, lines: list[str], *flags: str) -> Node:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        common = ["bind 127.0.0.1", "protected-mode yes", "daemonize no", f"dir {directory}", 'logfile ""']
        common.append(f"requirepass {self.password}")
        configuration = directory / f"{name}.conf"
        configuration.write_text("\n".join([*common, *lines]) + "\n")
        return Node(self, name, port, [self.program.path, str(configuration), *flags], directory)

    def _bring_up(self) -> None:
        """The primary, then the replicas, then the sentinels: who comes too early waits a second for its next look."""
        primary, *replicas = self._nodes
        primary._launch()
        timeouts = patience()
        self._until(
            lambda: _round_trip(primary.port, self.password, timeout_s=next(timeouts)), f"{primary.name} to answer"
        )
        for replica in replicas:
            replica._launch()
        if replicas:
            self._until(functools.partial(self._all_online, primary), "the replicas")
            self._others = self._planned_sentinels
            for sentinel in self._others:
                sentinel._launch()
            for sentinel in self._others:
                self._until(functools.partial(self._watches, sentinel), f"{sentinel.name} to see everybody")

    def _all_online(self, primary: Node) -> None:
        with resp.Resp(primary.port, self.password) as client:
            online = client.call("INFO", "replication").count("state=online")
        if online < self.size - 1:
            raise NotYet(f"{online} of {self.size - 1} replicas are online")

    def _watches(self, sentinel: Node) -> None:
        with resp.Resp(sentinel.port, self.password) as client:
            primary = _fields(client.call("SENTINEL", "MASTER", self.primary_name))
            replicas = [_fields(each) for each in client.call("SENTINEL", "REPLICAS", self.primary_name)]
            client.call("SENTINEL", "CKQUORUM", self.primary_name)
        seen = primary["flags"], primary["num-slaves"], primary["num-other-sentinels"]
        if seen != ("master", str(self.size - 1), str(SENTINELS - 1)):
            raise NotYet(f"it sees {seen}")
        if any(each["flags"] != "slave" or each["master-link-status"] != "ok" for each in replicas):
            raise NotYet("a replica is not connected")

    # ---- asking

    def _probe(self, node: Node, timeout_s: float) -> None:
        if self.size == 1 or node is self._primary_by_sentinels():
            _round_trip(node.port, self.password, timeout_s=timeout_s)
        elif node in self._nodes:
            with resp.Resp(node.port, self.password) as client:
                role = client.call("ROLE")
            if role[0] == "slave" and role[3] != "connected" and self._primary_by_sentinels() is not None:
                raise NotYet("it is not connected to the primary")
        else:
            with resp.Resp(node.port, self.password) as client:
                client.call("PING")

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        _round_trip(address.port or 6379, address.password or "", address.username or "", address.hostname, 1.0)

    def leader(self, timeout_s: float = 15.0) -> Node:
        """The primary that the sentinels point to; waits for a failover to end.

        Raises:
            ServiceError: there is none after `timeout_s`.
        """
        return super().leader(timeout_s)

    def _find_leader(self) -> Node | None:
        if self.size == 1 or not self._others:
            return super()._find_leader()
        primary = self._primary_by_sentinels()
        if primary is None:
            return None
        with resp.Resp(primary.port, self.password) as client:
            return primary if client.call("ROLE")[0] == "master" else None

    def _primary_by_sentinels(self) -> Node | None:
        """The running node that a sentinel takes for the primary and for well: what client libraries ask for."""
        for sentinel in self._others:
            if sentinel.state == "running":
                try:
                    with resp.Resp(sentinel.port, self.password) as client:
                        seen = _fields(client.call("SENTINEL", "MASTER", self.primary_name))
                except (OSError, EOFError, NotYet):
                    continue
                running = [node for node in self._nodes if node.state == "running"]
                named = [node for node in running if str(self._known_at[node.port]) == seen["port"]]
                if named and "down" not in seen["flags"] and "failover" not in seen["flags"]:
                    return named[0]
        return None

    def _argv_again(self, node: Node) -> list[str]:
        if self.size == 1 or node in self._others:
            return node._argv
        primary = self._primary_by_sentinels()
        if primary is None or primary is node:
            return node._argv
        # As a careful operator would: alone it would come back as a second primary, until the sentinels notice.
        return [*node._argv, "--replicaof", "127.0.0.1", str(self._known_at[primary.port])]


def _fields(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _round_trip(port: int, password: str, user: str = "", host: str = "127.0.0.1", timeout_s: float = 0.3) -> None:
    """Write, read and remove a key."""
    key, value = "lab:ready", os.urandom(4).hex()
    with resp.Resp(port, password, user=user, timeout_s=timeout_s, host=host) as client:
        answers = client.pipeline(("SET", key, value), ("GET", key), ("DEL", key))
    if answers[1] != value:
        raise NotYet(f"read {answers[1]!r} after writing {value!r}")
