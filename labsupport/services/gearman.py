"""Gearman: a job server (gearmand) between clients that want work done and workers that offer to do it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from labsupport.errors import SetupError
from labsupport.services import ports
from labsupport.services.base import Service, StartAgain
from labsupport.services.node import Node
from labsupport.services.wire import gearman

WITHOUT_SQLITE = re.compile(r"Unknown queue|unrecogni[sz]ed option")


class Queue(NamedTuple):
    """What a job server says of one function: jobs that it holds (`running` ones included), and workers."""

    jobs: int
    running: int
    workers: int


class Gearman(Service):
    """A Gearman job server, or several that know nothing of each other; clients and workers take all of `hosts`.

    Args:
        nodes: how many servers. A client goes to the next one when its own is gone; the jobs of that one stay there.
        port: the port of a single server; a free one is chosen without it.
        durable: whether a background job is kept in a file (SQLite) too and survives the server. Without it, all jobs
            are gone when the server is.
        tries: after how many workers that died with it a job is given up; None means never, which is the default of
            the server, too.

    >>> with Gearman(tries=2) as gearmand:                        # doctest: +SKIP
    ...     client = gearman.GearmanClient(gearmand.hosts)

    The options are those of https://gearman.org/gearmand/. There are no passwords.
    """

    system = "gearman"

    def __init__(
        self, nodes: int = 1, *, port: int | None = None, durable: bool = False, tries: int | None = None
    ) -> None:
        super().__init__(nodes, port=port)
        self.durable, self.tries = durable, tries

    @property
    def hosts(self) -> list[str]:
        """All servers as Gearman's clients want them: ``["127.0.0.1:4730"]``."""
        return [urlsplit(url).netloc for url in self.urls]

    def queues(self, node: Node | None = None) -> dict[str, Queue]:
        """The functions that a server knows, by name, with their jobs and workers.

        Raises:
            ServiceError: no server runs.
        """
        node = node or self._running()
        return {name: Queue(*numbers) for name, numbers in gearman.status(node.port).items()}

    def _url_of(self, host: str, port: int) -> str:
        return f"gearman://{host}:{port}"

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(self.size)
        chosen = [self._wanted_port] if self._wanted_port is not None else self._ports
        return [self._server(f"gearman-{index}", port) for index, port in enumerate(chosen)]

    def _server(self, name: str, port: int) -> Node:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        (directory / "gearmand.conf").touch()  # else it reads that of the machine
        argv = [
            self.program.path,
            "--listen=127.0.0.1",
            f"--port={port}",
            f"--pid-file={directory / 'pid'}",
            f"--config-file={directory / 'gearmand.conf'}",
            "--log-file=stderr",
            "--verbose=ERROR",
            "--threads=1",
        ]
        if self.durable:
            argv += ["--queue-type=libsqlite3", f"--libsqlite3-db={directory / 'jobs.sqlite'}"]
        if self.tries is not None:
            argv.append(f"--job-retries={self.tries}")
        return Node(self, name, port, argv, directory)

    def _probe(self, node: Node, timeout_s: float) -> None:
        gearman.echo(node.port, timeout_s)
        # It asks for no password: a stranger may have taken the port before ours could, and answer in its place.
        if gearman.ask(node.port, "getpid", timeout_s) != f"OK {node.pid}":
            raise StartAgain("another job server had taken a port")

    def _explain_death(self, node: Node) -> Exception:
        log = node.logs(15)
        if "when calling bind()" in log:
            return StartAgain("its port was taken")
        if WITHOUT_SQLITE.search(log):
            return SetupError(
                "This gearmand cannot keep jobs in a file.",
                cause=f"{self.program.path} was built without SQLite",
                do="leave out durable=True, or install gearmand from Debian's or Homebrew's package",
            )
        return super()._explain_death(node)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        gearman.echo(address.port or 4730, 1.0, address.hostname)
