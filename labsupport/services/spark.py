"""Spark: a standalone cluster of a master and workers, whose executors do the work."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labsupport.errors import ServiceError, SetupError
from labsupport.services import java, ports, reaper
from labsupport.services.jvm import JavaService
from labsupport.services.node import Node
from labsupport.services.wire import NotYet, connect, http

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLDEST, NEWEST = 17, 25
MODULE = "jdk.incubator.vector"  # Spark asks for it, and a Java that was cut down has it not
PACKAGES = {
    "java": "lang lang.invoke lang.reflect io net nio util util.concurrent util.concurrent.atomic",
    "sun": "nio.ch nio.cs security.action util.calendar",
}
OPENS = [
    word
    for root, names in PACKAGES.items()
    for name in names.split()
    for word in ("--add-opens", f"java.base/{root}.{name}=ALL-UNNAMED")
]
LOGGING = """rootLogger.level = LEVEL
rootLogger.appenderRef.s.ref = console
appender.c.type = Console
appender.c.name = console
appender.c.target = SYSTEM_ERR
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %c: %m%n
"""
EXECUTOR_MB = 512
SESSION = {
    "spark.executor.memory": f"{EXECUTOR_MB}m",
    "spark.driver.memory": "512m",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    # A frozen executor is missed after this long; the default is two minutes.
    "spark.network.timeout": "20s",
    "spark.network.timeoutInterval": "5s",
    "spark.executor.heartbeatInterval": "2s",
}


class SparkNode(Node):
    """The master, or a worker with its executors."""

    @property
    def executors(self) -> list[int]:
        """The process numbers of the executors that a worker has started for applications."""
        import psutil

        found = []
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.pid).children() if self.pid else ():
                if any("CoarseGrainedExecutorBackend" in word for word in child.cmdline()):
                    found.append(child.pid)
        return found

    def kill_executors(self) -> None:
        """End its executors (SIGKILL); the worker starts others, and Spark computes again what was lost with them.

        Raises:
            ServiceError: it has none.
        """
        self._must_be_up("kill the executors of")
        victims = self.executors
        if not victims:
            raise ServiceError(
                f"{self.name} has no executor.", cause="no session is connected to this cluster", do="call .session()"
            )
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)


class Spark(JavaService):
    """A Spark master and its workers; `session` connects to them.

    Args:
        nodes: how many workers, with one core and room for one executor each.

    >>> with Spark(nodes=2) as spark:                             # doctest: +SKIP
    ...     numbers = spark.session().sparkContext.parallelize(range(1000), 4)
    ...     spark.nodes[0].kill()                                 # a worker with its executor; `master` is another node

    Needs a complete Java from 17 to 25: the one that comes as a Python package lacks parts. The settings are those of
    https://spark.apache.org/docs/latest/spark-standalone.html.
    """

    system = "spark"
    has_helpers = True  # Python processes of the executors, in groups of their own
    heap_mb = 192
    other_mb = 100 + EXECUTOR_MB + 100  # a worker's executor, and the Python in which it runs our functions
    room_mb = 20
    ready_timeout_s = 120.0
    poll_s = 0.01
    options = (
        "-Dspark.master.rest.enabled=false",  # it would want port 6066
        "-Dspark.worker.timeout=10",
        *OPENS,
    )

    def __init__(self, nodes: int = 2) -> None:
        super().__init__(nodes)
        self._session: SparkSession | None = None
        self._connected = False  # there is a driver's Java, even if no session came of it

    @property
    def master(self) -> Node:
        """The node that gives applications their executors."""
        self._must_run()
        return self._others[0]

    @property
    def url(self) -> str:
        """Where a driver connects: the master."""
        self._must_run()
        return self._others[0].url if self._others else self._nodes[0].url

    @property
    def urls(self) -> list[str]:
        return [self.url]

    def leader(self, timeout_s: float = 0.0) -> Node:
        """The master."""
        return self.master

    def session(self, **settings: Any) -> SparkSession:
        """A session on this cluster (`SparkSession`), the same one each time; ended when the cluster is stopped.

        Args:
            settings: further settings of Spark, with "_" for ".", such as ``spark_sql_shuffle_partitions=8``.

        Raises:
            ServiceError: there is another session in this Python already.
        """
        self._must_run()
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        if self._session is not None:
            return self._session
        if SparkContext._active_spark_context is not None:
            raise ServiceError(
                "There is a Spark session in this Python already, and it can have one only.",
                do="call .stop() on that session first, or restart the kernel",
            )
        builder = SparkSession.builder.appName("lab").master(self.url)
        for name, value in {**SESSION, "spark.pyspark.python": sys.executable}.items():
            builder = builder.config(name, value)
        for name, value in settings.items():
            builder = builder.config(name.replace("_", "."), value)
        self._connected = True
        with self._environment():
            self._session = builder.getOrCreate()
        return self._session

    # ---- inside

    def _url_of(self, host: str, port: int) -> str:
        return f"spark://{host}:{port}"

    def _find_java(self) -> java.Java:
        return complete_java()

    def _jars(self) -> list[Path]:
        return sorted((_home() / "jars").glob("*.jar"))

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(2 + 2 * self.size)
        port, self._page = self._ports[:2]
        (self._directory / "log4j2.properties").write_text(LOGGING.replace("LEVEL", "warn"))
        self._others = [self._node("spark-master", port, "master.Master", "--webui-port", str(self._page))]
        return [
            self._node(
                f"spark-{index}",
                self._ports[2 + 2 * index],
                "worker.Worker",
                *("--webui-port", str(self._ports[3 + 2 * index])),
                *("--cores", "1", "--memory", f"{EXECUTOR_MB}m"),
                *("--work-dir", str(self._directory / f"spark-{index}"), f"spark://127.0.0.1:{port}"),
            )
            for index in range(self.size)
        ]

    def _node(self, name: str, port: int, main: str, *arguments: str) -> SparkNode:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        argv = self._java(
            directory,
            f"org.apache.spark.deploy.{main}",
            *("--host", "127.0.0.1", "--port", str(port), *arguments),
            options=(f"-Dlog4j2.configurationFile=file:{self._directory / 'log4j2.properties'}",),
        )
        return SparkNode(self, name, port, argv, directory, **self._variables(directory))

    def _variables(self, directory: Path) -> dict[str, str]:
        return {
            "SPARK_HOME": str(_home()),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(directory),
            "SPARK_SCALA_VERSION": "2.13",
            "JAVA_HOME": str(Path(os.path.realpath(self._runtime.path)).parent.parent),
            "PYSPARK_PYTHON": sys.executable,
        }

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """For the moment in which the driver's Java starts, which takes its settings from there."""
        directory = self._directory / "driver"
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / "log4j2.properties").write_text(LOGGING.replace("LEVEL", "error"))  # it writes into the notebook
        before = dict(os.environ)
        os.environ.update(reaper.env({**self._variables(directory), "SPARK_CONF_DIR": str(directory)}))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _bring_up(self) -> None:
        master = self._others[0]
        master._launch()
        # A worker that finds no master tries again after 5 to 15 s.
        self._until_listening(master.port, "the master to answer")
        super()._bring_up()

    def _probe(self, node: Node, timeout_s: float) -> None:
        """The master says so: that it is there, or that a worker is."""
        state = http.request(self._page, "/json/", timeout_s=max(timeout_s, 0.2))
        if node in self._nodes and not any(
            each["port"] == node.port and each["state"] == "ALIVE" for each in state["workers"]
        ):
            raise NotYet(f"the master does not know {node.name}")

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        connect(address.port or 7077, 1.0, address.hostname).close()

    def _clean_up(self) -> None:
        if self._connected and self._owner == os.getpid():
            _end(self._session)
            self._session, self._connected = None, False
        super()._clean_up()


def complete_java() -> java.Java:
    """The first Java of this machine that runs Spark.

    Raises:
        SetupError: there is none.
    """
    seen = [each for each in java._all() if OLDEST <= each.feature <= NEWEST]
    for each in seen:
        if _is_complete(each.path):
            return each
    raise SetupError(
        f"Spark needs a complete Java {OLDEST} to {NEWEST}, and this machine has none.",
        cause=f"that at {seen[0].path} lacks the module {MODULE}" if seen else "no Java of that age was found",
        do=f"run: {java.install_line()}",
    )


@functools.cache
def _is_complete(path: str) -> bool:
    shown = subprocess.run([path, "--list-modules"], capture_output=True, text=True, timeout=60, check=False)
    return MODULE in shown.stdout


def _home() -> Path:
    return Path(importlib.util.find_spec("pyspark").submodule_search_locations[0])


def _end(session: SparkSession | None) -> None:
    """End a session, and the driver's Java, which would otherwise stay for as long as this Python."""
    from pyspark import SparkContext

    if session is not None:
        with contextlib.suppress(Exception):  # the cluster may be gone, and we are on our way out
            session.stop()
    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    if gateway is not None:
        with contextlib.suppress(Exception):
            gateway.shutdown()
        process = gateway.proc
        process.stdin.close()  # it ends with it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
