"""A service: one real system as processes of this machine, ready on entry and gone on exit.

    Service   what a lesson starts and stops: `Nats`, `Redis`, `RabbitMQ`, `Etcd`
    Node      one process of it, which a lesson kills, freezes and brings back

A subclass says how its nodes are started (`_plan`), in which order (`_bring_up`), and when one answers (`_probe`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import html
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from labsupport.errors import LearnerError, ServiceError, SetupError, disk_errors_explained
from labsupport.services import broken, ports, reaper, sources
from labsupport.services.node import Foreign, Node
from labsupport.services.wire import NotYet, connect, patience

if TYPE_CHECKING:
    from labsupport.services.vitals import Vitals

Value = TypeVar("Value")
Kind = TypeVar("Kind", bound="Service")
MOST_POLL_S = 0.05  # the longest pause between two looks: each look costs a node some of what it starts with
ATTEMPTS = 5  # starts, when somebody takes one of our ports between the draw and the broker's bind
PORT_TAKEN = re.compile(
    r"address (is )?already in use|eaddrinuse|address in use|is in use by another process", re.IGNORECASE
)
DISK_FULL = re.compile(r"no space left on device|enospc|disk quota exceeded", re.IGNORECASE)

_started: set[Service] = set()


class StartAgain(Exception):
    """The start failed by bad luck (its reason says which), and another try may succeed."""


class Overdue(ServiceError):
    """A condition did not come true in its time."""


class Service:
    """One real system. Use it as a context manager, or call `start` and `stop`.

    Args:
        nodes: how many nodes; 1 or a cluster.
        port: the port of a single node. Without it, a free one is chosen.

    Raises:
        SetupError: the system is not installed, or there is no room for its files.
        ServiceError: it did not start; the error holds the last lines of its log.
    """

    system = ""  # its key in `sources.PINS`
    user = ""
    fills_cores = False  # whether its start keeps all cores busy for seconds; it sets `_eased` at the first pause
    has_helpers = False  # processes of its own, in other process groups, which end a moment after it
    room_mb = 5  # what the files of one node take at the start, with something to spare
    ready_timeout_s = 30.0
    poll_s = 0.0005  # the shortest pause between two looks at a node that is not ready

    def __init__(self, nodes: int = 1, *, port: int | None = None) -> None:
        name = type(self).__name__
        if not isinstance(nodes, int) or not 1 <= nodes <= 9:
            raise LearnerError(f"{name} can have 1 to 9 nodes, not {nodes!r}.", do=f"write {name}() or {name}(nodes=3)")
        if port is not None and nodes > 1:
            raise LearnerError(
                f"A cluster of {nodes} nodes cannot share port {port}.", do=f"write {name}(nodes={nodes})"
            )
        if port is not None and not 1024 <= port <= 65535:
            raise LearnerError(f"{port} is not a port for {name}.", do="choose one from 1024 to 65535, or none")
        self.size = nodes
        self.password = secrets.token_hex(8)
        self._wanted_port = port
        self._life = threading.RLock()
        self._phase = "not started"  # then "starting", "running", "stopped"
        self._nodes: list[Node] = []
        self._others: list[Node] = []  # processes that are no nodes of the lesson: a sentinel, a port mapper
        self._ports: list[int] = []
        self._directory: Path | None = None
        self._eased = threading.Event()
        self._owner = os.getpid()
        self.program: sources.Program | None = None
        self.ready_ms: float | None = None

    # ---- what a subclass says

    def _find_program(self) -> sources.Program:
        return sources.program(self.system)

    def _plan(self) -> list[Node]:
        """Write the configuration of all nodes into `self._directory` and return them, not yet started."""
        raise NotImplementedError

    def _bring_up(self) -> None:
        """Start the nodes and return when the service answers."""
        for node in self._nodes:
            node._launch()
        self._meet()
        for node in self._nodes:
            self._until(self._probe_of(node), f"{node.name} to answer")

    def _meet(self) -> None:
        """Called when the nodes have been started, before each is asked whether it answers."""

    def _probe(self, node: Node, timeout_s: float) -> None:
        """One real round trip; raises while the node does not answer as it should."""
        raise NotImplementedError

    def _probe_of(self, node: Node) -> Callable[[], None]:
        timeouts = patience()
        return lambda: self._probe(node, next(timeouts))

    def _before_kill(self, node: Node) -> None:
        """Called before a lesson kills a node that runs."""

    def _argv_again(self, node: Node) -> list[str]:
        """The command line that starts a node again."""
        return node._argv

    def _come_back(self, node: Node, timeout_s: float) -> None:
        """Return when a node that was started again answers."""
        try:
            self._rejoin(node, timeout_s)
        except StartAgain:
            raise self._port_error(node.port) from None

    def _rejoin(self, node: Node, timeout_s: float) -> None:
        self._until(self._probe_of(node), f"{node.name} to answer again", timeout_s=timeout_s, watch=[node])

    def _url_of(self, host: str, port: int) -> str:
        raise NotImplementedError

    def _probe_address(self, url: str) -> None:
        """The round trip for a service that is not ours."""
        raise NotImplementedError

    def _find_leader(self) -> Node | None:
        """The leader, if the cluster says at this moment that it has one."""
        return next((node for node in self._nodes if node.state == "running"), None)

    # ---- life cycle

    def start(self: Kind) -> Kind:
        """Start it and return it when it answers; a service that runs already is left alone."""
        with self._life:
            if self._phase == "running":
                return self
            began = time.perf_counter()
            self._owner, self._phase = os.getpid(), "starting"
            try:
                sources.bring(self.system)
                named = sources.addresses(self.system)
                if len(named) >= self.size:
                    self._use(named)
                else:
                    self.program = self._find_program()
                    self._start_ours()
            except BaseException:
                self._clean_up()
                self._phase = "not started"
                raise
            finally:
                self._eased.set()
            self.ready_ms = (time.perf_counter() - began) * 1000
            self._phase = "running"
            _started.add(self)
        broken.install()
        return self

    def _start_ours(self) -> None:
        if self._wanted_port is not None and not ports.is_free(self._wanted_port):
            raise self._port_error(self._wanted_port)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with disk_errors_explained(f"starting {self.title}", self._directory or "the temporary directory"):
                    self._directory = reaper.private_directory(self.system)
                    self._check_room()
                    self._nodes = self._plan()
                    self._bring_up()
                return
            except StartAgain as reason:
                self._clean_up()
                if self._wanted_port is not None and not ports.is_free(self._wanted_port):
                    raise self._port_error(self._wanted_port) from None
                if attempt == ATTEMPTS:
                    raise ServiceError(
                        f"{self.title} did not start: {reason}, {ATTEMPTS} times in a row.",
                        cause="another program on this machine opens very many ports, or the machine is very busy",
                        do="stop what keeps it busy, then run this cell again",
                    ) from None

    def _check_room(self) -> None:
        """A broker on a full disk starts, crashes slowly, or starts and then takes no message: better not to try."""
        place = self._directory.parent
        free_mb, needed_mb = shutil.disk_usage(place).free // 1_000_000, self._room_mb()
        if free_mb < needed_mb:
            raise SetupError(
                f"{self.title} needs {needed_mb} MB of disk, and {place} has {free_mb}.",
                cause="the disk is full",
                do="free some space there, or set TMPDIR to a directory with room",
            )

    def _room_mb(self) -> int:
        return self.room_mb * self.size

    def _port_error(self, port: int) -> ServiceError:
        who = ports.holder(port)
        return ServiceError(
            f"Port {port} is taken" + (f" by {who}." if who else "."),
            cause=f"something else listens there already, perhaps an earlier {self.title}",
            do="stop it, or leave out port= so that a free one is chosen",
        )

    def _use(self, urls: list[str]) -> None:
        """Use a service that somebody else runs."""
        self._nodes = [Foreign(self, f"{self.system}-{index}", url) for index, url in enumerate(urls)]
        for url in urls:
            try:
                self._until(functools.partial(self._probe_address, url), "it to answer", timeout_s=5.0)
            except Overdue as error:
                variable = sources.PINS[self.system].variable
                raise ServiceError(
                    f"No {self.title} answers at {without_password(url)}, where {variable} says it is.",
                    cause=error.cause,
                    do=f"start it there, or unset {variable} to use a program of this machine",
                ) from None

    def stop(self) -> None:
        """Kill every process of it and remove its files. Stopping twice does no harm."""
        if self._phase == "starting":
            self._phase = "stopped"  # at which the thread that starts it gives up
        with self._life:
            if self._phase != "not started":
                self._phase = "stopped"  # first, so that a node that is being restarted in another thread gives up
            self._clean_up()
        _started.discard(self)

    def _clean_up(self) -> None:
        if self._owner != os.getpid():
            return  # a forked child has a copy of us, the processes are its parent's
        everyone = [*self._nodes, *self._others]
        for node in everyone:
            node._signal_kill()
        for node in everyone:
            node._wait()
        if self._directory is not None:
            if self.has_helpers:
                reaper.kill_inside(self._directory)
            reaper.discard(self._directory)
        ports.give_back(self._ports)
        self._nodes, self._others, self._ports, self._directory = [], [], [], None

    def __enter__(self: Kind) -> Kind:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- using it

    @property
    def title(self) -> str:
        if self.system == "redis" and self.program and "valkey" in os.path.basename(self.program.path):
            return "Valkey"
        return sources.PINS[self.system].title

    @property
    def nodes(self) -> list[Node]:
        """Its nodes, in the order of their names."""
        self._must_run()
        return list(self._nodes)

    @property
    def url(self) -> str:
        """Where a client connects, with user and password: the first node that runs."""
        nodes = self.nodes
        return next((node for node in nodes if node.state == "running"), nodes[0]).url

    @property
    def urls(self) -> list[str]:
        """The addresses of all nodes, for a client that goes on with another one when its node dies."""
        return [node.url for node in self.nodes]

    @property
    def port(self) -> int:
        """The port of the node that `url` names."""
        return next(node.port for node in self.nodes if node.url == self.url)

    def _most_run(self) -> bool:
        return sum(node.state == "running" for node in self._nodes) * 2 > self.size

    def _running(self) -> Node:
        """Some node that runs, to ask a question."""
        self._must_run()
        running = next((node for node in self._nodes if node.state == "running"), None)
        if running is None:
            states = ", ".join(f"{node.name} {node.state}" for node in self._nodes)
            raise ServiceError(
                f"No node of {self.title} is running ({states}).", do="call .restart() or .resume() on one"
            )
        return running

    def _answers(self, ask: Callable[[Node], Value]) -> list[Value]:
        """What the running nodes answer; one that gives no answer is left out."""
        found = []
        for node in self._nodes:
            if node.state == "running":
                with contextlib.suppress(OSError, EOFError, ValueError, KeyError, NotYet):
                    found.append(ask(node))
        return found

    def _latest_leader(self, term_of: Callable[[Node], int]) -> Node | None:
        """The node that says it leads in the latest term: one that was frozen may not know of the next.

        Args:
            term_of: the term in which a node says that it leads; raises `NotYet` if it does not say so.
        """
        claims = self._answers(lambda node: (term_of(node), node)) if self._most_run() else []
        return max(claims, key=lambda claim: claim[0], default=(0, None))[1]

    def leader(self, timeout_s: float = 10.0) -> Node:
        """The node that leads the cluster now; waits for an election to end.

        Raises:
            ServiceError: there is still none after `timeout_s`.
        """
        return self._wait_for_leader(self._find_leader, timeout_s)

    def _wait_for_leader(self, find: Callable[[], Node | None], timeout_s: float) -> Node:
        if self.size > 1 and isinstance(self.nodes[0], Foreign):
            raise ServiceError(f"Who leads this {self.title} is not known.", cause="somebody else started it")
        self._must_run()

        def look() -> Node:
            found = find()
            if found is None:
                raise NotYet("nobody leads")
            return found

        try:
            return self._until(look, "a leader", timeout_s=timeout_s, watch=())
        except Overdue as error:
            states = ", ".join(f"{node.name} {node.state}" for node in self._nodes)
            raise ServiceError(
                f"{self.title} has no leader after {timeout_s:g} s ({states}).",
                cause=f"fewer than half of the nodes can talk to each other, or the election goes on ({error.cause})",
                do="restart or resume a node: a leader needs more than half of them",
            ) from None

    def vitals(self) -> dict[str, Vitals]:
        """What each running node says of itself: role, term or epoch, length and lag of its log."""
        from labsupport.services.vitals import vitals

        return vitals(self)

    def gauge(self, what: str, group: str = "") -> Callable[[], dict[str, int]]:
        """A function that counts what waits in a queue (RabbitMQ), a stream (NATS) or a topic for a group (Kafka).

        Args:
            what: the name of the queue, stream or topic.
            group: of Kafka's consumers.
        """
        from labsupport.services.gauges import gauge

        self._must_run()
        return gauge(self, what, group)

    def logs(self, lines: int = 20) -> str:
        """The last lines of every node's log."""
        self._must_run()
        return "\n".join(f"── {node.name}\n{node.logs(lines)}" for node in [*self._nodes, *self._others])

    def partition(self, what: object) -> None:
        """Cut nodes off from each other; the course can do that to the systems whose nodes copy data.

        Raises:
            SetupError: it cannot do it to this system.
        """
        raise SetupError(
            f"The nodes of {self.title} cannot be cut off from each other by the course.",
            cause="they copy nothing to each other that a partition could keep back",
            do="call .pause() on a node, or put a Proxy between a client and a node",
        )

    def _must_run(self) -> None:
        if self._phase != "running":
            name = type(self).__name__
            raise ServiceError(
                f"This {self.title} {'has been stopped' if self._phase == 'stopped' else 'has not been started'}.",
                do=f"run the cell that starts it again, or call .start() on it; `with {name}() as ...:` does both ends",
            )

    # ---- waiting

    def _until(
        self,
        condition: Callable[[], Value],
        what: str,
        *,
        timeout_s: float | None = None,
        watch: Sequence[Node] | None = None,
    ) -> Value:
        """Call `condition` until it does not raise.

        Args:
            condition: raises while it is not fulfilled.
            what: what is waited for, for the error.
            timeout_s: how long.
            watch: the nodes whose death ends the waiting; None for all of them.
        """
        timeout_s = self.ready_timeout_s if timeout_s is None else timeout_s
        began = time.monotonic()
        while True:
            try:
                value = condition()
                self._check_deaths(watch)  # or a stranger answered on the port of a node that could not bind it
                return value
            except (OSError, EOFError, ValueError, KeyError, NotYet) as error:
                last = error
            self._check_deaths(watch)
            waited_s = time.monotonic() - began
            if waited_s > timeout_s and self._disk_is_full():
                raise self._disk_error()
            if waited_s > timeout_s:
                raise Overdue(
                    f"Waited {timeout_s:g} s in vain for {what} ({self.title}).",
                    cause=f"the last answer was: {last or type(last).__name__}",
                    do="look at its log with .logs(), and whether this machine is very busy",
                )
            time.sleep(max(self.poll_s, min(0.01 * waited_s, MOST_POLL_S)))  # which adds next to nothing to the wait

    def _until_listening(self, port: int, what: str) -> None:
        self._until(lambda: connect(port, 0.2).close(), what)

    def _check_deaths(self, nodes: Sequence[Node] | None) -> None:
        dead = [node for node in ([*self._nodes, *self._others] if nodes is None else nodes) if node._died()]
        if self._phase == "stopped":  # by another thread, and that is why they died
            self._must_run()
        if dead:
            raise self._explain_death(dead[0])

    def _explain_death(self, node: Node) -> Exception:
        tail = node.logs(15)
        if PORT_TAKEN.search(tail):
            return StartAgain("its ports were taken")
        if self._disk_is_full(tail):
            return self._disk_error()
        return ServiceError(
            f"{node.name} ended while it was starting (exit status {node._status()}).",
            cause=f"its log ends with:\n{tail}" if tail else "it wrote nothing to its log",
            do=f"run {self.program.path if self.program else self.title} by hand, or report this with the lines above",
        )

    def _why(self, node: Node) -> str:
        """Why a node ended by itself, as a phrase, where its log or the disk tells; else ""."""
        return f"there is no room in {self._directory}" if self._disk_is_full(node.logs(15)) else ""

    def _disk_is_full(self, log: str = "") -> bool:
        return bool(DISK_FULL.search(log)) or _no_room(self._directory)

    def _disk_error(self) -> SetupError:
        return SetupError(
            f"{self.title} could not write its files: the disk is full.",
            cause=f"there is no room in {self._directory}",
            do="free some space there, or set TMPDIR to a directory with room",
        )

    # ---- the ways it shows itself

    def __repr__(self) -> str:
        if self._phase != "running":
            return f"{self.title}, {self._phase}"
        version = f" {self.program.version}" if self.program else ""
        nodes = ", ".join(f"{node.name} {node.state}" for node in self._nodes)
        return f"{self.title}{version} at {without_password(self.url)} — {nodes}"

    def _repr_html_(self) -> str:
        head, _dash, nodes = repr(self).partition(" — ")
        shown = "".join(f"<li>{html.escape(node)}</li>" for node in nodes.split(", ") if node)
        style = "display:inline-flex;gap:1.2em;list-style-position:inside;margin:0 0 0 1em;padding:0"
        return f"<div><b>{html.escape(head)}</b>" + (f'<ul style="{style}">{shown}</ul>' if shown else "") + "</div>"


def without_password(url: str) -> str:
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:…@", url)


def _no_room(directory: Path | None) -> bool:
    try:
        room = os.statvfs(directory)
    except (OSError, TypeError):
        return False
    return room.f_bavail * room.f_frsize < 1_000_000


def start_all(*services: Service) -> tuple[Service, ...]:
    """Start several services at the same time; when one fails, or on Ctrl-C, all are stopped and the error is raised.

    One that fills all cores (Cassandra) starts first, and the others when it pauses: it is the last to be ready in any
    case, and beside it they would only make it later.

    >>> rabbit, redis = start_all(RabbitMQ(), Redis())    # doctest: +SKIP
    """
    errors: list[BaseException] = []

    def start(service: Service) -> None:
        try:
            for other in services:
                if other.fills_cores and not service.fills_cores:
                    other._eased.wait()
            service.start()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
    except BaseException:
        for service in services:
            service.stop()
        for thread in threads:
            thread.join()
        for service in services:
            service.stop()  # one that had not begun when the others were stopped
        raise
    return services


def running_services() -> list[Service]:
    """The services of this Python process that have been started and not stopped."""
    return [service for service in list(_started) if service._owner == os.getpid()]


@atexit.register
def _stop_all() -> None:
    for service in running_services():
        service.stop()
