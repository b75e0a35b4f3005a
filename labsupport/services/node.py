"""A node: one process of a service, which a lesson kills, freezes and brings back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from labsupport.errors import ServiceError, SetupError
from labsupport.services import reaper

if TYPE_CHECKING:
    from labsupport.services.base import Service

# What a broker gets from our environment. Everything else stays out: RABBITMQ_NODENAME, ETCD_NAME, ERL_FLAGS or a
# proxy of the shell would change what it does.
KEPT = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a broker, made from nothing: its home and its temporary directory are its own."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {"PATH": "/usr/bin:/bin", **kept, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", **more}


class Node:
    """One process of a service.

    Attributes:
        name: "etcd-0", "etcd-1", ... also its name in the cluster.
        port: where clients connect, on 127.0.0.1.
        url: the same as an address for a client library, with user and password.
    """

    def __init__(
        self, service: Service, name: str, port: int, argv: list[str], directory: Path, **variables: str
    ) -> None:
        self.service, self.name, self.port = service, name, port
        self.url = service._url_of("127.0.0.1", port)
        self._argv, self._directory, self._variables = argv, directory, variables
        self._process: subprocess.Popen | None = None
        self._paused = False
        self._ended_by = ""  # "killed" or "terminated", when this notebook did it
        self._log: Path = directory / "log"
        self._lock = threading.RLock()

    # ---- looking

    @property
    def pid(self) -> int | None:
        """Its process number, or None while it does not run."""
        return self._process.pid if self._process is not None and self._lives() else None

    @property
    def state(self) -> str:
        """ "running", "paused" or "stopped"."""
        if not self._lives():
            return "stopped"
        return "paused" if self._paused else "running"

    @property
    def memory(self) -> float:
        """The memory it holds (resident), in MiB; 0 while it does not run."""
        if self.pid is None:
            return 0.0
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=False)
        return int(shown.stdout.strip() or 0) / 1024

    def logs(self, lines: int = 20) -> str:
        """The last lines it wrote."""
        try:
            with open(self._log, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 400 * lines))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    # ---- breaking and mending

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power cut would; its files stay."""
        with self._lock:
            self._must_be_up("kill")
            if not self._paused:
                self.service._before_kill(self)
            self._signal_kill()
            self._wait()
            self._ended_by = "killed"

    def terminate(self, timeout_s: float = 20.0) -> None:
        """Ask it to shut down in order (SIGTERM), and wait until it has."""
        with self._lock:
            self._must_be_up("terminate")
            if self._paused:
                raise ServiceError(
                    f"{self.name} is frozen and cannot shut down.", do="call .resume() first, or .kill()"
                )
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise ServiceError(
                    f"{self.name} has not shut down within {timeout_s:g} s.",
                    cause=f"its log ends with:\n{self.logs(5)}",
                    do="call .kill() to end it at once",
                ) from None
            self._wait()
            self._ended_by = "terminated"

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and nothing answers, as in a long garbage collection."""
        with self._lock:
            self._must_be_up("pause")
            self._signal(signal.SIGSTOP)
            self._paused = True
            self._wait_until_frozen()

    def resume(self) -> None:
        """Let a frozen node go on (SIGCONT), as if no time had passed for it."""
        with self._lock:
            self._must_be_up("resume")
            self._paused = False
            self._signal(signal.SIGCONT)

    def restart(self, timeout_s: float = 60.0) -> None:
        """Start it again on the same port with the files it left; returns when it answers.

        A node that runs is killed first. What "answers" means is the service's affair: in a cluster it has found the
        others.
        """
        with self._lock:
            self.service._must_run()
            self._must_be_ours("restart")
            if self.state == "running":
                self.kill()
            self._signal_kill()
            self._wait()
            self._launch(self.service._argv_again(self))
            self.service._come_back(self, timeout_s)

    def what_happened(self) -> tuple[str, str]:
        """Why it does not answer, as a phrase, and the name of the method that mends it."""
        if self.state == "paused":
            return "is frozen (paused in this notebook)", "resume"
        if self._ended_by:
            return f"does not run (it was {self._ended_by} in this notebook)", "restart"
        why, last = self.service._why(self), self.logs(1).strip()
        told = f": {why}" if why else f"; its log ends: {last}" if last else ""
        return f"has ended by itself (status {self._status()}{told})", "restart"

    def __repr__(self) -> str:
        return f"{self.name} ({self.state}) at 127.0.0.1:{self.port}"

    # ---- for the service

    def _launch(self, argv: list[str] | None = None) -> None:
        with open(self._log, "ab", buffering=0) as log:
            # A session of its own: an interrupt of the notebook goes to the kernel's process group and must miss it.
            # A file for its output: a pipe that nobody reads stops a broker after 64 KiB.
            self._process = subprocess.Popen(
                argv or self._argv,
                cwd=self._directory,
                env=reaper.env(environment(self._directory, **self._variables)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._paused, self._ended_by = False, ""
        reaper.adopt(self._process.pid)
        if self.service._phase == "stopped":  # while we were at it
            self._signal_kill()
            self._wait()
            self.service._must_run()

    def _lives(self) -> bool:
        if self._process is None:
            return False
        if self.service._owner != os.getpid():  # in a forked child it is nobody we may wait for
            try:
                os.kill(self._process.pid, 0)
            except OSError:
                return False
            return True
        if self._process.poll() is None:
            return True
        reaper.release(self._process.pid)
        return False

    def _died(self) -> bool:
        """Whether it was started and has ended."""
        return self._process is not None and not self._lives()

    def _status(self) -> int | None:
        return self._process.returncode if self._process is not None else None

    def _signal(self, number: int) -> None:
        if self._lives():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _signal_kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait()
            reaper.release(self._process.pid)
        self._paused = False

    def _wait_until_frozen(self) -> None:
        """The signal takes effect a moment after the call (only Linux lets us see when)."""
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                with open(f"/proc/{self._process.pid}/stat", "rb") as file:
                    if file.read().rpartition(b")")[2].split()[0] in (b"T", b"Z"):
                        return
            except OSError:
                return
            time.sleep(0.001)

    def _must_be_ours(self, deed: str) -> None:
        if self.service._owner != os.getpid():
            raise ServiceError(
                f"You cannot {deed} {self.name} from here.",
                cause="another process started it, and this one is its forked copy",
                do="do it in the process that started it",
            )

    def _must_be_up(self, deed: str) -> None:
        self.service._must_run()
        self._must_be_ours(deed)
        if not self._lives():
            raise ServiceError(
                f"There is nothing to {deed}: {self.name} is not running.", do="call .restart() on it first"
            )


DEFAULT_PORTS = {
    "nats": 4222,
    "redis": 6379,
    "amqp": 5672,
    "http": 2379,
    "gearman": 4730,
    "zookeeper": 2181,
    "kafka": 9092,
    "cassandra": 9042,
}


class Foreign(Node):
    """A node that somebody else runs: its address came from the environment, so we may talk to it and nothing else."""

    def __init__(self, service: Service, name: str, url: str) -> None:
        from labsupport.services import sources

        self.service, self.name, self.url = service, name, url
        try:
            address = urlsplit(url)
            self.port = address.port or DEFAULT_PORTS[address.scheme]
        except (ValueError, KeyError):
            variable = sources.PINS[service.system].variable
            raise SetupError(
                f"{variable} holds {url!r}, which is no address of {service.title}.",
                do=f"set it to something like {service._url_of('127.0.0.1', 1234)}, or unset it",
            ) from None
        self._process = None

        self._lock = threading.RLock()

    pid = None

    @property
    def state(self) -> str:
        return "running"

    @property
    def memory(self) -> float:
        return 0.0

    def logs(self, lines: int = 20) -> str:
        return "(its log is where it was started)"

    def _refuse(self, *_: object, **__: object) -> None:
        from labsupport.services import sources

        variable = sources.PINS[self.service.system].variable
        raise ServiceError(
            f"{self.service.title} at this address is not ours to kill, freeze or restart.",
            cause=f"{variable} is set, so the course uses a service that somebody else started",
            do=f"unset {variable} and start again, and the course runs its own",
        )

    kill = terminate = pause = resume = restart = _refuse

    def _signal_kill(self) -> None: ...

    def _wait(self) -> None: ...

    def _died(self) -> bool:
        return False
