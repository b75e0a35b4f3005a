"""Redis Cluster: several primaries, each of which keeps a share of the 16384 slots into which keys are hashed."""

from __future__ import annotations

import itertools

from labsupport.errors import LearnerError, ServiceError
from labsupport.services import ports
from labsupport.services.node import Node
from labsupport.services.redis import Redis
from labsupport.services.wire import NotYet, resp

SLOTS = 16384
BUS = 10000  # the nodes talk to each other on their port plus this


class RedisCluster(Redis):
    """A Redis Cluster of primaries without replicas; a cluster client starts from any `url`.

    Args:
        nodes: how many primaries, at least 3.
        partitions: whether they can be cut off from each other (`partition`, `heal`).

    >>> with RedisCluster() as cluster:                           # doctest: +SKIP
    ...     client = redis.RedisCluster.from_url(cluster.url)

    Ready after 2 s: that long a new cluster refuses to answer, by a constant of its source (CLUSTER_WRITABLE_DELAY).
    The rules are those of https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
    """

    def __init__(self, nodes: int = 3, *, partitions: bool = False) -> None:
        super().__init__(nodes, partitions=partitions)
        if self.size < 3:
            raise LearnerError(
                f"A Redis Cluster has at least 3 primaries, not {nodes}.", do="write RedisCluster(nodes=3)"
            )

    def leader(self, timeout_s: float = 0.0) -> Node:
        raise ServiceError(
            "A Redis Cluster has no leader.", cause="each primary leads its own slots", do="ask owner_of(key)"
        )

    def owner_of(self, key: str) -> Node:
        """The node that keeps a key."""
        with resp.Resp(self._running().port, self.password, timeout_s=1.0) as client:
            slot = client.call("CLUSTER", "KEYSLOT", key)
        return next(node for node, slots in zip(self.nodes, self._shares(), strict=True) if slot in slots)

    def _shares(self) -> list[range]:
        bounds = [SLOTS * index // self.size for index in range(self.size + 1)]
        return [range(first, after) for first, after in itertools.pairwise(bounds)]

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(self.size, beside=BUS)
        self._known_at = dict(zip(self._ports, self._fronts([port + BUS for port in self._ports]), strict=True))
        return [self._primary(index, port) for index, port in enumerate(self._ports)]

    def _primary(self, index: int, port: int) -> Node:
        lines = ["cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 1000"]
        lines += ["cluster-announce-ip 127.0.0.1", f"cluster-announce-bus-port {self._known_at[port]}"]
        node = self._node(f"redis-{index}", port, [*self._settings(port), *lines])
        # Everybody knows everybody from the start: no introductions, no distribution of slots.
        known = [
            f"{number + 1:040x} 127.0.0.1:{each}@{self._known_at[each]} {'myself,' if number == index else ''}master "
            f"- 0 0 {number + 1} connected {slots.start}-{slots.stop - 1}"
            for number, (each, slots) in enumerate(zip(self._ports, self._shares(), strict=True))
        ]
        known.append(f"vars currentEpoch {self.size} lastVoteEpoch 0")
        (self._directory / node.name / "nodes.conf").write_text("\n".join(known) + "\n")
        return node

    def _bring_up(self) -> None:
        for node in self._nodes:
            node._launch()
        for node in self._nodes:
            self._until(self._probe_of(node), f"{node.name} to see all slots")

    def _probe(self, node: Node, timeout_s: float) -> None:
        with resp.Resp(node.port, self.password, timeout_s=timeout_s) as client:
            state = client.call("CLUSTER", "INFO")
        everybody = all(other.state == "running" for other in self._nodes)
        if everybody and ("cluster_state:ok" not in state or f"cluster_slots_ok:{SLOTS}" not in state):
            raise NotYet(state.partition("\r\n")[0])

    def _argv_again(self, node: Node) -> list[str]:
        return node._argv
