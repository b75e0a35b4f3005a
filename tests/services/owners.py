"""A Python process that owns services, and what is left of it once it has been killed.

Looks at the machine from the outside, with nothing of `labsupport`: processes by their environment, command line and
working directory, directories by their names. The owner's temporary directory is `root`, so everything it starts
points there.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTERS = "services = [Nats(nodes=3), Redis(nodes=3), RabbitMQ(nodes=3), Etcd(nodes=3)]"
JAVA = "services = [ZooKeeper(nodes=3), Kafka(nodes=3), Cassandra(), DynamoDB()]"
WORKERS = "services = [Gearman(), CeleryWorkers(nodes=2), Etcd(nodes=3, partitions=True)]"  # and what these stand on
SINGLES = "services = [Nats(), Redis(), RabbitMQ(), Etcd()]"
EVERYTHING = """services = [Nats(nodes=3), Redis(nodes=3), RedisCluster(), RabbitMQ(nodes=3), Etcd(nodes=3), Gearman(),
    ZooKeeper(nodes=3), Kafka(nodes=3), Cassandra(nodes=3), DynamoDB(), Spark(), CeleryWorkers()]"""
PREAMBLE = """
import json, os, sys, threading, time
from labsupport.services import Cassandra, DynamoDB, Etcd, Kafka, Nats, RabbitMQ, Redis, ZooKeeper, reaper, start_all
from labsupport.services import CeleryWorkers, Gearman, RedisCluster, Spark
def tell(value):
    print(json.dumps(value), flush=True)
"""


class Owner:
    """Runs a piece of Python in a process and a group of its own; `hear` returns what it tells, line by line."""

    def __init__(self, root: Path, code: str) -> None:
        self.root, self._unread = root, b""
        environment = {**os.environ, "TMPDIR": str(root), "PYTHONPATH": str(REPOSITORY)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{PREAMBLE}\n{code}"],
            cwd="/",
            env=environment,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, even when the test has found that something was left."""
        self.kill()
        self.process.stdout.close()
        for pid in processes_of(self.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def hear(self, limit_s: float = 120.0) -> Any:
        """The next thing it tells."""
        end = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            heard = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]
            assert heard, f"the owner has told nothing for {limit_s} s"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the owner ended with status {self.process.wait()}"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def kill(self, *, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()


def processes_of(root: Path) -> list[int]:
    """The processes that name a directory, in their environment, their command line or as their working directory."""
    if not os.path.isdir("/proc/self"):
        everybody = subprocess.run(["ps", "eww", "-axo", "pid=,command="], capture_output=True, text=True, check=True)
        lines = [line.strip() for line in everybody.stdout.splitlines() if str(root) in line]
        return [int(line.split()[0]) for line in lines if int(line.split()[0]) != os.getpid()]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                base = Path("/proc", entry)
                seen = (base / "environ").read_bytes() + (base / "cmdline").read_bytes()
                if os.fsencode(root) in seen + os.fsencode(os.readlink(base / "cwd")):
                    found.append(int(entry))
    return found


def leftovers(root: Path) -> list[str]:
    """Names of what is left: processes (the guard is one, it has to go as well) and directories."""
    names = []
    for pid in processes_of(root):
        if words := command_line(pid):
            names.append(f"{pid} {Path(words[0]).name} {' '.join(words[1:])[:60]}")
    return names + [path.name for path in root.glob("lab-*")]


def command_line(pid: int) -> list[str]:
    """The words of a process's command line; none for one that has ended."""
    if os.path.isdir("/proc/self"):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").split()
        return []
    argv = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()


def listeners_of(root: Path) -> list[str]:
    """The addresses, "127.0.0.1:4222", at which the processes of a directory listen."""
    pids = [str(pid) for pid in processes_of(root)]
    shown = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[3] for line in shown if any(f"pid={pid}," in line for pid in pids)]


def joined(pids: Iterable[int]) -> set[tuple[int, int]]:
    """The pairs of processes, of these, between which there is a connection."""
    ends = {(each.laddr, each.raddr): pid for pid in pids for each in psutil.Process(pid).net_connections("tcp4")}
    return {(pid, other) for (near, far), pid in ends.items() if far and (other := ends.get((far, near), pid)) != pid}


def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    """Ask again and again until `condition` is true; a failed assertion after `limit_s`."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s"


def wait_until_nothing_is_left(root: Path, limit_s: float = 2.0) -> float:
    """Seconds until nothing is left; fails with the names of what is left after `limit_s`."""
    began = time.monotonic()
    while left := leftovers(root):
        waited_s = time.monotonic() - began
        assert waited_s < limit_s, f"left after {waited_s:.1f} s: {left}"
    return time.monotonic() - began
