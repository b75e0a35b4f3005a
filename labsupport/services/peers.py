"""Partitions between the nodes of one service: what they say to each other goes through a relay that can stop it.

Each node gives the others an address at which the relay listens for it. Whose connection comes in there, the relay
learns from the operating system (which process has the other end), so it knows of every byte who sends it to whom.
Where nodes tell each other in their own talk where they listen, the relay puts its port there instead (`rewrite`).
It needs no privileges, and the clients' connections do not pass through it.

The relay runs in a thread of this Python process. Code that keeps all other threads from running for longer than an
election lasts (most of a second for etcd) looks like a network that stood still.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from labsupport.errors import LearnerError
from labsupport.faults import Partition
from labsupport.services import ports
from labsupport.services.base import Service
from labsupport.services.node import Foreign, Node
from labsupport.services.relay import Link, Relay, Stream

Rewrite = Callable[[bytes], bytes]
Cuts = "Sequence[Sequence[Node | str]] | set[tuple[Node | str, Node | str]]"


class _Words(Stream):
    """What one node says to another on one connection."""

    def __init__(self, peers: Peers, to_server: bool, server: str, rewrite: Rewrite | None) -> None:
        super().__init__()
        self.peers, self.to_server, self.server, self.rewrite = peers, to_server, server, rewrite

    def feed(self, data: bytes) -> None:
        super().feed(self.rewrite(data) if self.rewrite else data)

    def is_cut(self) -> bool:
        caller = self.peers.caller(self.link) if self.peers.cuts else ""
        way = (caller, self.server) if self.to_server else (self.server, caller)
        return caller is None or way in self.peers.cuts

    def allowed(self) -> int:
        return 0 if self.is_cut() else len(self.waiting)

    def may_end(self) -> bool:
        return not self.is_cut()


class Peers(Relay):
    """The network between some nodes, which `nodes` gives."""

    def __init__(self, nodes: Callable[[], Sequence[Node]]) -> None:
        super().__init__()
        self.nodes = nodes
        self.cuts: frozenset[tuple[str, str]] = frozenset()
        self._callers: dict[Link, str] = {}
        self._asking = False

    def front(
        self, name: str, port: int, *, at: tuple[str, int] = (ports.HOST, 0), rewrite: Rewrite | None = None
    ) -> int:
        """The port at which the others reach a node that listens for them on `port`.

        Args:
            at: where to listen for it, if that matters.
            rewrite: changes the addresses in what passes, a piece at a time, and nothing else. (A message that is
                written at once comes as one piece, here on one machine, unless it is long.)
        """
        return self.listen(
            ports.HOST, port, lambda: (_Words(self, True, name, rewrite), _Words(self, False, name, rewrite)), at
        )

    def may_open(self, link: Link) -> bool:
        return not link.there.is_cut() and not link.back.is_cut()

    def cut(self, cuts: frozenset[tuple[str, str]]) -> None:
        """Let nothing pass on these ways any more, and everything on all others."""
        self.call(lambda: setattr(self, "cuts", cuts))

    def caller(self, link: Link) -> str | None:
        """The node that opened a connection, or "" when it was somebody else; None while that is not known yet."""
        if link not in self._callers and not self._asking:
            self._asking = True
            self.spawn(self._ask())
        return self._callers.get(link)

    async def _ask(self) -> None:
        """Ask the operating system, in another thread: that may take longer than an election."""
        links = list(self.links)
        owners = await self.loop.run_in_executor(None, _owners, self.nodes())
        known = {link: name for link, name in self._callers.items() if link in self.links}
        new = {link: owners.get(_from(link), "") for link in links if link not in known}
        self._callers = {**known, **new}
        self._asking = False  # so that those who came meanwhile can ask
        self.announce()


Way = tuple[int, tuple[str, int]]  # a connection: from a port, to an address (one port may call several addresses)


def _from(link: Link) -> Way:
    near = link.near.transport
    return near.get_extra_info("peername")[1], near.get_extra_info("sockname")[:2]


def _owners(nodes: Sequence[Node]) -> dict[Way, str]:
    """Which node has opened which connection."""
    import psutil  # only partitions need it, and it takes longer to import than etcd to start

    found = {}
    for node in nodes:
        with contextlib.suppress(psutil.Error):
            if node.pid is not None:
                open_ = psutil.Process(node.pid).net_connections("tcp4")
                found |= {(each.laddr.port, tuple(each.raddr)): node.name for each in open_ if each.raddr}
    return found


class PartedService(Service):
    """A service whose nodes can be cut off from each other.

    Args:
        partitions: whether `partition` is wanted. What the nodes say to each other then passes through this Python
            process, which costs some time for each of their messages.
    """

    def __init__(self, nodes: int = 1, *, port: int | None = None, partitions: bool = False) -> None:
        super().__init__(nodes, port=port)
        self.partitions = partitions
        self._between: Peers | None = None

    def _fronts(
        self, real: Sequence[int], name: str = "", *, host: str = "", rewrite: Rewrite | None = None
    ) -> list[int]:
        """The ports at which nodes reach each other, from those on which they listen for each other.

        Args:
            name: what their names have before the number; that of the system, unless it is given.
            host: another address of this machine, at which the nodes are reached on the same ports.
            rewrite: see `Peers.front`.
        """
        if not self.partitions:
            return list(real)
        self._between = self._between or Peers(self._everybody)
        return [
            self._between.front(
                f"{name or self.system}-{index}", port, at=(host, port) if host else (ports.HOST, 0), rewrite=rewrite
            )
            for index, port in enumerate(real)
        ]

    def _everybody(self) -> list[Node]:
        return [*self._nodes, *self._others]

    def _clean_up(self) -> None:
        super()._clean_up()
        if self._between is not None:
            self._between.close()
            self._between = None

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """The ways that a partition stops now, each from the first to the second node."""
        return self._between.cuts if self._between else frozenset()

    def partition(self, what: Cuts) -> None:
        """Let no byte pass between nodes of different groups, or from the first to the second node of each pair.

        Their connections stay open and nobody is told; what was sent arrives after `heal`. Clients reach every node.

        Args:
            what: groups of nodes (or of their names), such as ``[[leader], others]``, where nodes in no group form one
                more; or a set of pairs, each of which is cut in that direction only (and as long as one direction
                is cut, no new connection comes about). It replaces the last partition.

        >>> etcd.partition([[etcd.leader()]])                     # doctest: +SKIP
        """
        between = self._network()
        named = [tuple(map(self._name_of, group)) for group in what]
        names = [node.name for node in self._everybody()]
        cuts = frozenset(named) if isinstance(what, (set, frozenset)) else Partition(named).cuts(names)
        between.cut(cuts)

    def heal(self) -> None:
        """End the partition: what waited arrives."""
        self._network().cut(frozenset())

    def _network(self) -> Peers:
        self._must_run()
        if isinstance(self._nodes[0], Foreign):
            self._nodes[0]._refuse()
        if self._between is None:
            raise LearnerError(
                f"The nodes of this {self.title} talk to each other directly.",
                do=f"start it with {type(self).__name__}(nodes={max(self.size, 3)}, partitions=True)",
            )
        return self._between

    def _name_of(self, node: Node | str) -> str:
        name, names = getattr(node, "name", node), [each.name for each in self._everybody()]
        if name not in names:
            raise LearnerError(f"There is no node {name!r}.", do=f"choose from {', '.join(names)}")
        return name
