"""`Cluster`: the same node as in the simulation, or any Maelstrom node, as real operating-system processes."""

from __future__ import annotations

import itertools
import pathlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from labsupport.cluster.client import Client
from labsupport.cluster.process import Process
from labsupport.cluster.program import Program
from labsupport.cluster.report import NodeCrashed
from labsupport.cluster.router import Router
from labsupport.errors import LearnerError, ServiceError
from labsupport.faults import Faults, Link, Partition, Skew
from labsupport.history import History
from labsupport.services import reaper
from labsupport.trace import Trace

MOST_NODES = 50  # each is a process of its own
START_S = 30.0  # a slow machine starts 25 Pythons in a quarter of that; Maelstrom gives each node 10 s

Kind = TypeVar("Kind", bound="Cluster")


class Cluster:
    """Nodes as processes that speak the Maelstrom node protocol, with a router between them that makes things go wrong.

    Use it as a context manager: when it is entered every node has answered ``init``; when it is left no process and no
    file is left.

    Args:
        program: a `Node` class; or a program, as a path or as a list of a path and its arguments.
        nodes: how many, called "n1", "n2" ...; or their names.
        seed: what the links' and the nodes' chance is drawn from. Real processes do not run the same way twice.
        faults: the same as in the simulation, in real time from the start. Delays, losses and duplicates concern
            messages between nodes and to services; clients reach everybody, always. None: everything goes through at
            once.
        trace: whether all messages are written down for `trace`; the oldest are forgotten when there are very many.
        together: whether several messages may be written to a node with one system call. None: for a `Node` class only,
            because some programs see the second line only when a third one comes.
        start_s: how long all nodes may take to answer ``init``.

    Raises:
        LearnerError: faults that only a simulation can make; a class that cannot leave this process.
        SetupError: there is no such program.
        NodeCrashed: a node has ended before it answered ``init``; with its last lines.

    >>> with Cluster(Echo, nodes=3) as cluster:                              # doctest: +SKIP
    ...     cluster.client().rpc("n1", {"type": "echo", "echo": "hello"})
    {'type': 'echo_ok', 'echo': 'hello', 'in_reply_to': 1}

    Source: https://github.com/jepsen-io/maelstrom, doc/protocol.md.
    """

    def __init__(
        self,
        program: Any,
        nodes: int | Iterable[str] = 3,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        trace: bool = True,
        together: bool | None = None,
        start_s: float = START_S,
    ) -> None:
        self.names = _names(nodes)
        self.program = Program(program)
        self.seed, self.faults = seed, faults or Faults(link=Link(delay_ms=0, least_ms=0, distribution="constant"))
        _check(self.faults)
        self.ready_ms: float | None = None
        self._trace, self._start_s = trace, start_s
        self._together = self.program.ours if together is None else together
        self._directory: pathlib.Path | None = None
        self._operations = itertools.count(1)
        self._clients: list[Client] = []
        self._client_numbers = itertools.count(1)  # two threads may ask for a client at the same time
        self._router = Router(self.names, self.faults, seed, self._spawn, self._wipe, trace)

    # -------------------------------------------------------------------------------------------- its life

    def start(self: Kind) -> Kind:
        """Start all nodes; returns when each has answered ``init``."""
        began = time.perf_counter()
        if self._directory is not None:
            raise LearnerError("This cluster was started before.", do="make a new Cluster")
        self._directory = reaper.private_directory("cluster")
        try:
            self.program.write(self._directory)
            self._router.start()
            self._router.ask(self._launch_all)
            self._until_ready(self.names)
            self._router.ask(self._router.begin)
        except BaseException:
            self.stop()
            raise
        self.ready_ms = (time.perf_counter() - began) * 1000
        return self

    def stop(self) -> None:
        """Kill all nodes and remove their files; what was recorded stays."""
        self._router.stop()
        if self._directory is not None:
            reaper.kill_inside(self._directory)
            reaper.discard(self._directory)

    def __enter__(self: Kind) -> Kind:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch_all(self) -> None:
        for name in self.names:
            self._router.launch(name)

    def _until_ready(self, names: Iterable[str]) -> None:
        router = self._router
        wanted = [router.hosts[name] for name in names]

        def settled() -> bool:  # a node may also be struck by a fault while it starts
            return any(not host.up for host in wanted) or all(host.ready for host in wanted)

        with router.changed:
            done = router.changed.wait_for(settled, self._start_s)
        router.check()
        for name in names:
            if name in router.crashed:
                raise router.crashed[name]
        if not done:
            late = ", ".join(host.name for host in wanted if not host.ready)
            raise ServiceError(
                f"{late} did not answer init within {self._start_s:g} s.",
                cause="the program does not reply to init with init_ok, or does not flush its standard output",
                do=f"look at .problems and .logs(); it wrote:\n{self.logs(late.split(', ')[0])[-1000:]}",
            )

    def _spawn(self, name: str, life: int, log: bytearray) -> Process:
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        argv = self.program.argv(directory, seed=self.seed, life=life, origin_s=self._router.boot_s, traced=self._trace)
        return Process(argv, self.program.environment(), directory, self._together, log)

    def _wipe(self, name: str) -> None:
        reaper.discard(self._directory / name)

    # -------------------------------------------------------------------------------------------- clients

    def client(self) -> Client:
        """A new client, called "c1", "c2" ..."""
        self._must_run()
        client = Client(self, f"c{next(self._client_numbers)}")
        self._clients.append(client)
        return client

    # -------------------------------------------------------------------------------------------- breaking and mending

    def kill(self, name: str, lose_disk: bool = False) -> None:
        """End a node at once (SIGKILL); what it has saved stays, unless it loses its disk too."""
        self._order(self._router.crash, self._node(name), lose_disk)

    def restart(self, name: str) -> None:
        """Start a node that is down; returns when it has answered ``init``."""
        self._order(self._router.restart, self._node(name))
        self._until_ready([name])

    def pause(self, name: str) -> None:
        """Freeze a node (SIGSTOP): what is sent to it waits."""
        self._order(self._router.pause, self._node(name))

    def resume(self, name: str) -> None:
        """Let a frozen node go on, which does not know that time has passed."""
        self._order(self._router.resume, self._node(name))

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """The ways that a partition stops now, each from the first to the second node."""
        return self._router.cuts

    def partition(self, what: Sequence[Sequence[str]] | set[tuple[str, str]] | frozenset[tuple[str, str]]) -> None:
        """Lose every message between nodes of different groups, or from the first to the second of each pair.

        Args:
            what: groups, such as ``[["n1"], ["n2", "n3"]]``, where nodes in no group form one more; or a set of pairs,
                such as ``{("n1", "n2")}``, each of which is cut in that direction only. It replaces the last partition.
        """
        pairs = what if isinstance(what, (set, frozenset)) else Partition(what).cuts(self.names)
        named = what if isinstance(what, (set, frozenset)) else list(what)
        for name in itertools.chain.from_iterable(named):
            self._node(name)
        self._order(self._router.cut, pairs)

    def heal(self) -> None:
        """Let every message through again."""
        self._order(self._router.heal)

    def calm(self) -> None:
        """End all faults: heal, resume, restart, and lose and repeat nothing."""
        self._order(self._router.calm)

    def _order(self, act: Callable, *args: Any) -> None:
        self._must_run()
        self._router.ask(act, *args)

    def _must_run(self) -> None:
        if not self.running:
            raise LearnerError("The cluster does not run.", do="use it inside `with Cluster(...) as cluster:`")

    def _node(self, name: str) -> str:
        if name not in self.names:
            raise LearnerError(f"There is no node {name!r}.", do=f"choose from {', '.join(self.names)}")
        return name

    # -------------------------------------------------------------------------------------------- looking

    @property
    def running(self) -> bool:
        """Whether it was started and has not been stopped."""
        return self.ready_ms is not None and self._router.alive

    def pid(self, name: str) -> int | None:
        """A node's process number; None while it is down."""
        host = self._router.hosts[self._node(name)]
        return host.process.pid if host.up else None

    def state(self, name: str) -> str:
        """ "starting", "running", "paused" or "down"."""
        host = self._router.hosts[self._node(name)]
        return "down" if not host.up else "paused" if host.paused else "running" if host.ready else "starting"

    def logs(self, name: str) -> str:
        """What a node wrote to standard error in all its lives; the beginning of very much is forgotten."""
        return bytes(self._router.hosts[self._node(name)].log).decode(errors="replace")

    @property
    def problems(self) -> list[str]:
        """What was not as it should be: stray lines on standard output, messages to nobody, nodes that ended."""
        return self._router.problems.texts

    @property
    def crashed(self) -> dict[str, NodeCrashed]:
        """The nodes that have ended by themselves and were not started again, each with its last words."""
        return dict(self._router.crashed)

    @property
    def counts(self) -> dict[str, Any]:
        """How many messages there were since the start, without ``init``.

        ``{"all": {"sent", "received", "unique"}, "clients": ..., "servers": ..., "held": ...}``: between clients and
        nodes; between nodes and of nodes with services; held back for a while, because their receiver was paused or had
        not yet answered ``init``. A message that arrives twice is received twice and unique once.
        """
        return self._router.counts()

    def trace(self) -> Trace:
        """What has happened so far, as the simulation records it.

        Times are those of the router. It sees a message leave for a node, not when the node reads it, so that a node's
        next message may look as if it had been caused by one that still lay in its pipe.
        """
        names = [*self.names, *(client.name for client in list(self._clients))]
        used = [end.name for end in self._router.services.values() if end.ways]
        return Trace([*names, *used], self._router.records, self.seed)

    def history(self) -> History:
        """What the clients asked and were told, as far as they recorded it (`Client.call`)."""
        return self.trace().history()

    def __repr__(self) -> str:
        return f"<Cluster of {self.program.name} on {', '.join(self.names)}>"


def _names(nodes: int | Iterable[str]) -> tuple[str, ...]:
    names = tuple(f"n{number}" for number in range(1, nodes + 1)) if isinstance(nodes, int) else tuple(nodes)
    good = all(isinstance(name, str) and re.fullmatch(r"[A-Za-z]\w{0,30}", name) for name in names)
    if not good or not 1 <= len(names) <= MOST_NODES or len(set(names)) < len(names):
        raise LearnerError(
            f"A cluster cannot have the nodes {nodes!r}.",
            do=f'give a number from 1 to {MOST_NODES}, or names such as ["n1", "n2"]',
        )
    if any(re.fullmatch(r"c\d+", name) for name in names):
        raise LearnerError("Names such as c1 belong to clients.", do="call the nodes n1, n2 ...")
    return names


def _check(faults: Faults) -> None:
    """Refuse what only a simulation can do."""
    skewed = faults.skew or any(isinstance(fault, Skew) for fault in faults.plan)
    if skewed or faults.crash_at_save:
        what = "make a process's clock run wrong" if skewed else "kill a process in the moment of a save"
        raise LearnerError(
            f"A Cluster cannot {what}: its nodes are real.",
            do="use World for Skew, skew and crash_at_save; Cluster knows links, crashes, pauses and partitions",
        )
