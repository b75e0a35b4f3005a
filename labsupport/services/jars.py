"""The JARs of the systems that run on Java: pinned files of Maven Central, brought into the user's cache at first use.

`kafka.jars` beside this file lists what Kafka needs, one file a line in the order of the class path: Maven coordinates,
SHA-256, bytes. A file that lies in the cache has been checked. jgo (https://github.com/apposed/jgo) knows how to ask a
Maven repository; which files are wanted, and that they arrive as they were pinned, is ours: jgo only warns when a
checksum differs, and takes half a file for a whole one.

`python -m labsupport.services.jars COORDINATES…` resolves coordinates with all that they depend on, and prints the
lines of such a list.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport import environment
from labsupport.errors import SetupError, disk_errors_explained
from labsupport.services import reaper, sources

REPOSITORY = "LAB_MAVEN_URL"  # names another Maven repository, where only a mirror can be reached
ATTEMPTS, TIMEOUT_S = 3, 20
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Jar:
    """One file of a Maven repository: "group:artifact:version" or "group:artifact:version:classifier"."""

    coordinates: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """Where it lies in the cache."""
        return directory() / f"{'-'.join(self.coordinates.split(':')[1:])}.jar"

    def is_here(self) -> bool:
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


def directory() -> Path:
    return sources.cache_directory() / "jars"


def listed(system: str) -> list[Jar]:
    """What a system needs, in the order of its class path."""
    text = Path(__file__).with_name(f"{system}.jars").read_text("utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Jar(coordinates, sha256, int(size)) for coordinates, sha256, size in lines]


def missing(*systems: str) -> list[Jar]:
    """The files that the systems need and the cache lacks."""
    wanted = dict.fromkeys(jar for system in systems for jar in listed(system))
    return [jar for jar in wanted if not jar.is_here()]


def class_path(system: str) -> list[Path]:
    """The files of a system; those that are missing are fetched.

    Raises:
        SetupError: they cannot be had.
    """
    fetch(system)
    return [jar.path for jar in listed(system)]


def fetch(*systems: str) -> None:
    """Bring what the systems need into the cache, with a progress bar; what is there is left alone.

    Raises:
        SetupError: the repository cannot be reached, a file is not the pinned one, or there is no room.
    """
    with _one_at_a_time:
        jars = missing(*systems)
        if not jars:
            return
        environment.add("java")
        title = ", ".join(sources.PINS[system].title for system in systems)
        with disk_errors_explained(f"fetching the JARs of {title}", directory()):
            directory().mkdir(parents=True, exist_ok=True)
            half = reaper.private_directory("jars", directory())
            try:
                with _progress(f"{title}, from Maven Central", sum(jar.size for jar in jars)) as advance:
                    for jar in jars:
                        os.replace(_checked(jar, half, advance), jar.path)
            finally:
                reaper.discard(half)


def _checked(jar: Jar, half: Path, advance: Callable[[int], None]) -> Path:
    """Download a file to a directory, and only return if it is what was pinned."""
    name = jar.path.name
    for attempt in range(1, ATTEMPTS + 1):
        artifact = _artifact(half, jar.coordinates, advance)
        try:
            file = artifact.resolve()
        except OSError as error:
            if error.errno:  # the disk's; those of the network, which are OSErrors as well, have no number
                raise
            problem = SetupError(
                f"{name} cannot be fetched: Maven Central does not answer.",
                cause="this machine has no network, or a proxy is in the way",
                do=f"run it again with a network (behind a proxy, set HTTPS_PROXY; for a mirror, set {REPOSITORY})",
            )
        except RuntimeError as error:
            problem = SetupError(
                f"{name} cannot be fetched: the Maven repository does not have it.",
                cause=str(error),
                do=f"unset {REPOSITORY} if it is set, then run it again",
            )
        else:
            if hashlib.sha256(file.read_bytes()).hexdigest() == jar.sha256:
                return file
            problem = SetupError(
                f"{name} arrived with other contents than those that are pinned, so it is not used.",
                cause="the download was cut off, or something on the way (a proxy, a mirror) changed it",
                do="run it again, from another network if it stays so",
            )
        artifact.cached_path.unlink(missing_ok=True)  # or jgo would take it for whole
        if attempt == ATTEMPTS:
            raise problem
    raise AssertionError("unreachable")


def _artifact(cache: Path, coordinates: str, advance: Callable[[int], None] | None = None):
    """jgo's handle on a file; `advance` is told of the bytes that come."""
    from jgo.maven import MavenContext, PythonResolver

    mirror = os.environ.get(REPOSITORY)
    context = MavenContext(
        resolver=PythonResolver(progress_callback=advance and (lambda *_: contextlib.nullcontext(advance))),
        repo_cache=cache,
        local_repos=[],
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=TIMEOUT_S,
    )
    group, artifact, version, *classifier = coordinates.split(":")
    return context.project(group, artifact).at_version(version).artifact(*classifier)


@contextlib.contextmanager
def _progress(title: str, size: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, or in the notebook; gives a function to call with the bytes that have come."""
    from rich import progress
    from rich.console import Console

    columns = "{task.description}", progress.BarColumn(), progress.DownloadColumn(), progress.TimeRemainingColumn()
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=size)
        yield functools.partial(bar.advance, task)


def _resolve(wanted: Sequence[str]) -> None:
    """Print the list for some coordinates and all that they depend on at run time."""
    with tempfile.TemporaryDirectory() as place:
        artifacts = [_artifact(Path(place), coordinates) for coordinates in wanted]
        context = artifacts[0].context
        inputs, others = context.resolver.resolve([context.create_dependency(each) for each in wanted])
        for dependency in [*inputs, *others]:
            artifact = dependency.artifact
            if dependency.scope in ("compile", "runtime", None) and artifact.packaging == "jar":
                content = artifact.resolve().read_bytes()
                parts = filter(None, (artifact.groupId, artifact.artifactId, artifact.version, artifact.classifier))
                print(":".join(parts), hashlib.sha256(content).hexdigest(), len(content), flush=True)


if __name__ == "__main__":
    _resolve(sys.argv[1:])
