"""What the systems written in Java have in common: the JARs, a Java that can run them, and how it starts fast.

Half of the time until a Java program answers goes into reading and checking its classes. A file in the cache holds them
as they are in memory (an archive of "class data sharing", https://openjdk.org/jeps/350); the first start of a system
makes it, in some seconds. With it, the simplest garbage collector, and the compiler that starts faster but ends with
slower code, ZooKeeper answers after 0.2 s instead of 0.3, Kafka after 0.8 s instead of 2.1, Cassandra after 2.1 instead
of 4.8 (medians, on two cores).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from pathlib import Path

import psutil

from labsupport.environment.installing import StatusLine
from labsupport.errors import LabError, ServiceError, SetupError
from labsupport.services import jars, java, reaper, sources
from labsupport.services.base import Service
from labsupport.services.node import Node

NO_MEMORY = re.compile(r"OutOfMemoryError|insufficient memory for the Java|Cannot allocate memory")
STOP_S = 120.0  # what a busy machine may take to write an archive
_one_at_a_time = threading.Lock()
_without: set[Path] = set()  # archives that could not be made here


class JavaService(Service):
    """A service whose nodes are Java programs; a subclass makes their command lines with `_java`."""

    heap_mb = 64  # of one node
    other_mb = 100  # what a node takes beside its heap
    options: tuple[str, ...] = ()  # for the virtual machine
    one_archive = True  # whether a cluster uses the classes of a single node

    _archive: Path | None = None
    _making = False

    def _start_ours(self) -> None:
        self._check_memory()
        self._get_ready()
        super()._start_ours()

    def _get_ready(self) -> None:
        """Find Java and the JARs, and make the archive, where something of it is missing."""
        self._runtime = self._find_java()
        self._class_path = os.pathsep.join(map(str, self._jars()))
        if not self._making:
            self._archive = self._prepared()

    def _find_java(self) -> java.Java:
        pin = sources.PINS[self.system]
        return java.find(*pin.java, pin.title)

    def _jars(self) -> list[Path]:
        return jars.class_path(self.system)

    def _java(self, directory: Path, main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """The command line of one node, whose files are in `directory`."""
        flags = [
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            "-XX:+ExitOnOutOfMemoryError",
            "-Xss512k",
            f"-Xmx{self.heap_mb}m",
            "-Xlog:disable",
            "-Xlog:all=error:stderr",
            f"-Djava.io.tmpdir={directory}",
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            *self.options,
            *options,
        ]
        if self._archive and self._making:
            if directory.name.endswith("-0"):
                flags.append(f"-XX:ArchiveClassesAtExit={self._archive}")
        elif self._archive:
            flags += ["-Xshare:auto", f"-XX:SharedArchiveFile={self._archive}"]
        return [self._runtime.path, *flags, "-cp", self._class_path, main, *arguments]

    # ---- the archive

    def _prepared(self) -> Path | None:
        """The archive for this system, made if it is not there; None where that is not possible."""
        program = Path(os.path.realpath(self._runtime.path))
        if not (program.parent.parent / "lib" / "server" / "classes.jsa").exists():
            return None  # ours would stand on Java's own archive, which the wheel's Java has not
        name = f"{self.system}{'' if self.one_archive or self.size == 1 else '-cluster'}"
        key = f"{self._runtime.version} {program} {self._class_path} {self.options}"
        archive = sources.cache_directory() / "java" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsa"
        with _one_at_a_time, contextlib.suppress(LabError, OSError):  # it only costs time to do without
            if not archive.exists() and archive not in _without:
                _without.add(archive)
                archive.parent.mkdir(parents=True, exist_ok=True)
                self._make(archive)
            # Its code would run with our rights.
            return archive if archive.stat().st_uid in (os.getuid(), 0) else None
        return None

    def _make(self, archive: Path) -> None:
        """Start the system once and let it write down its classes when it ends."""
        place = reaper.private_directory(self.system, archive.parent)
        half = place / archive.name
        trainee = type(self)(nodes=1 if self.one_archive else self.size)
        trainee.program, trainee._archive, trainee._making = self.program, half, True
        try:
            with StatusLine(self.title) as line:
                line.phase("preparing its fast start, which is done once")
                with trainee:
                    trainee.nodes[0].terminate(STOP_S)
            os.replace(half, archive)
        finally:
            reaper.discard(place)

    # ---- what goes wrong

    def _check_memory(self) -> None:
        """A machine without room for all heaps starts to swap, or kills one of them in the middle of a lesson."""
        free_mb = psutil.virtual_memory().available // 2**20
        needed_mb = self.size * (self.heap_mb + self.other_mb)
        if free_mb < needed_mb:
            raise SetupError(
                f"{self.title} with {self.size} node{'s' * (self.size > 1)} needs {needed_mb} MB of memory, "
                f"and {free_mb} are free.",
                cause="other programs and other notebooks hold the rest",
                do="stop services that you no longer need, restart their kernels, or close other programs",
            )

    def _why(self, node: Node) -> str:
        if NO_MEMORY.search(node.logs(40)):
            return f"it had not enough memory (its heap has {self.heap_mb} MB)"
        return super()._why(node)

    def _explain_death(self, node: Node) -> Exception:
        if NO_MEMORY.search(node.logs(40)):
            return ServiceError(
                f"{node.name} ended: {self._why(node)}.",
                cause=f"the work was too much for so small a node, or this machine has no more; its log ends with:\n"
                f"{node.logs(5)}",
                do="stop other services, ask less of it at a time, then call .restart() on it",
            )
        return super()._explain_death(node)
