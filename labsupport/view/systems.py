"""What a panel can see of a cluster and do to it: one form for simulated worlds, node processes and real services.

They are told apart by what they offer, so that this module needs none of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from labsupport.errors import LabError, LearnerError
from labsupport.trace import Trace

SELDOM_S = 2.0  # how often a service is asked what costs it round trips and processes: roles, logs, memory
ROLES, TERMS = ("role", "state"), ("term", "current_term", "epoch", "view")  # attributes that learners give their nodes
DOWN = ("down", "stopped")
LAST = 4  # events under a panel
LINK, BETWEEN = "cut or mend", " – "  # what is done to a link, and what stands between the names of its ends


class Row(NamedTuple):
    """One node as a panel shows it."""

    name: str
    state: str  # "running", "paused", "starting", "down" or "stopped"
    role: str = ""
    more: str = ""


class System:
    """A cluster behind a panel; subclasses say how it is looked at and what can be done to it."""

    everywhere: tuple[str, ...] = ("heal",)  # what concerns the whole cluster
    owned = True  # whether commands may be given from a thread of the panel's

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster

    @property
    def title(self) -> str:
        return repr(self.cluster)

    @property
    def gone(self) -> bool:
        """Whether it has been stopped."""
        return False

    def rows(self) -> list[Row]:
        raise NotImplementedError

    def events(self) -> list[str]:
        """The last things that happened, one line each, where they are recorded."""
        return []

    def deeds(self) -> dict[str, Callable[[str], Any]]:
        """What can be done to a node, by the words on the buttons."""
        raise NotImplementedError

    def possible(self, deed: str, row: Row) -> bool:
        """Whether it makes sense in the node's present state."""
        return {
            "kill": row.state not in DOWN,
            "pause": row.state == "running",
            "resume": row.state == "paused",
            "restart": row.state in DOWN,
        }.get(deed, True)

    def do(self, deed: str, name: str = "") -> None:
        """Do it to a node, or to all when there is no name."""
        if deed == LINK:
            self.toggle(*name.split(BETWEEN))
        elif name:
            self.deeds()[deed](name)
        else:
            getattr(self, deed.replace(" ", "_"))()

    def heal(self) -> None:
        self.cluster.heal()

    @property
    def has_links(self) -> bool:
        """Whether its nodes can be cut off from each other."""
        return len(self.rows()) > 1

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """The ways between nodes on which nothing passes now."""
        return self.cluster.cuts

    def toggle(self, one: str, other: str) -> None:
        """Cut the link between two nodes, or mend it."""
        both = {(one, other), (other, one)}
        self.cut(self.cuts - both if self.cuts & both else self.cuts | both)

    def cut(self, ways: frozenset[tuple[str, str]]) -> None:
        self.cluster.partition(ways)

    def _others(self, name: str) -> list[str]:
        return [row.name for row in self.rows() if row.name != name]


class OfWorld(System):
    """A simulated world: time passes in it only when it is told to."""

    everywhere = ("heal", "run 0.1 s", "run 1 s")
    owned = False  # a world is not made for two threads

    @property
    def title(self) -> str:
        return f"a world at {self.cluster.now_s:.3f} s"

    def rows(self) -> list[Row]:
        return [self._row(name, host) for name, host in self.cluster.hosts.items()]

    def events(self) -> list[str]:
        return _last(self.cluster.trace)

    def _row(self, name: str, host: Any) -> Row:
        state = "down" if not host.up else "paused" if host.paused else "running"
        role = _first(host.node, ROLES, str)
        terms = [
            f"{word} {value}" for word in TERMS for value in [getattr(host.node, word, None)] if type(value) is int
        ]
        return Row(name, state, "client" if host.client else role, ", ".join(terms))

    def deeds(self) -> dict[str, Callable[[str], Any]]:
        world = self.cluster
        return {
            "kill": world.crash,
            "pause": world.pause,
            "resume": world.resume,
            "restart": world.restart,
            "cut off": self._cut_off,
        }

    def _cut_off(self, name: str) -> None:
        self.cut(frozenset(way for other in self._others(name) for way in ((name, other), (other, name))))

    def cut(self, ways: frozenset[tuple[str, str]]) -> None:
        self.cluster.cut(ways)

    def do(self, deed: str, name: str = "") -> None:
        if deed.startswith("run "):
            self.cluster.run(self.cluster.now_s + float(deed.split()[1]))
        else:
            super().do(deed, name)


class OfCluster(System):
    """Node processes behind a router."""

    def __init__(self, cluster: Any) -> None:
        super().__init__(cluster)
        self._seen, self._notes = 0, {}

    @property
    def gone(self) -> bool:
        return not self.cluster.running

    def rows(self) -> list[Row]:
        self._listen()
        return [
            Row(name, self.cluster.state(name), self._notes.get(name, ""), f"process {self.cluster.pid(name) or '-'}")
            for name in self.cluster.names
        ]

    def events(self) -> list[str]:
        return _last(self.cluster.trace())

    def _listen(self) -> None:
        """What each node has last noted; that is what it says of its role."""
        records = self.cluster.trace().records
        for _, kind, node, detail in records[min(self._seen, len(records)) :]:
            if kind == "note":
                self._notes[node] = detail[0]
            elif kind in ("crash", "restart"):
                self._notes.pop(node, None)
        self._seen = len(records)

    def deeds(self) -> dict[str, Callable[[str], Any]]:
        cluster = self.cluster
        return {
            "kill": cluster.kill,
            "pause": cluster.pause,
            "resume": cluster.resume,
            "restart": cluster.restart,
            "cut off": lambda name: cluster.partition([[name]]),
        }


class OfService(System):
    """A real system."""

    def __init__(self, cluster: Any) -> None:
        super().__init__(cluster)
        self.everywhere = ("heal",) if self.has_links else ()
        self._due, self._told = 0.0, {}

    @property
    def title(self) -> str:
        return self.cluster.title

    @property
    def gone(self) -> bool:
        return not self._nodes()

    @property
    def has_links(self) -> bool:
        return getattr(self.cluster, "partitions", False)

    def _nodes(self) -> dict[str, Any]:
        with contextlib.suppress(LabError):
            return {node.name: node for node in self.cluster.nodes}
        return {}

    def rows(self) -> list[Row]:
        nodes = self._nodes()
        if time.monotonic() >= self._due and nodes:
            self._ask(nodes)
        return [Row(name, node.state, *self._told.get(name, ())) for name, node in nodes.items()]

    def _ask(self, nodes: dict[str, Any]) -> None:
        vitals: dict[str, Any] = {}
        with contextlib.suppress(LabError):
            vitals = self.cluster.vitals()
        for name, node in nodes.items():
            one = vitals.get(name)
            self._told[name] = one.role if one else "", ", ".join(filter(None, [*_vital(one), _memory(node)]))
        self._due = time.monotonic() + SELDOM_S

    def deeds(self) -> dict[str, Callable[[str], Any]]:
        deeds = {deed: self._one(deed) for deed in ("kill", "pause", "resume", "restart")}
        if self.everywhere:
            deeds["cut off"] = lambda name: self.cluster.partition([[name]])
        return deeds

    def _one(self, deed: str) -> Callable[[str], Any]:
        def act(name: str) -> None:
            getattr(self._nodes()[name], deed)()
            self._due = 0.0

        return act


def _vital(one: Any) -> Iterator[str]:
    """The term, the log and the lag of a node that has said something of itself."""
    if one is not None:
        yield one.era
        if one.length is not None:
            yield f"log {one.length:,}" + (f" ({one.lag:,} behind)" if one.lag else "")


def _memory(node: Any) -> str:
    return f"{held:.0f} MiB" if (held := node.memory) else ""


def system_of(cluster: Any) -> System:
    """What a panel needs of a `World`, a `Cluster` or a service.

    Raises:
        LearnerError: it is none of these.
    """
    for attribute, kind in _KINDS:
        if hasattr(type(cluster), attribute):
            return kind(cluster)
    raise LearnerError(
        f"A panel cannot show {type(cluster).__name__} {cluster!r}.",
        do="give a World, a Cluster or a service such as Etcd, the object itself",
    )


_KINDS: tuple[tuple[str, type[System]], ...] = (("advance", OfWorld), ("pid", OfCluster), ("urls", OfService))


def _last(trace: Trace) -> list[str]:
    """The last events, worked out of the last records alone: a panel looks often, and a run can be long."""
    return Trace(trace.nodes, trace.records[-LAST:]).last(LAST)


def _first(node: Any, names: tuple[str, ...], kind: type) -> str:
    return next(_values(node, names, kind), "")


def _values(node: Any, names: tuple[str, ...], kind: type) -> Iterator[Any]:
    for name in names:
        value = getattr(node, name, None)
        if isinstance(value, kind):
            yield value
