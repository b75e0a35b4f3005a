"""The guard: a program that waits for its parent to go, then kills what the parent started and removes its directories.

`reaper` starts one per Python process, in a session of its own, as ``python -I -S guard.py IDENTITY PARENT_PID
MACHINE ROOT...``. It uses the standard library only and imports nothing of ours, so that it works whatever state the
parent is in. Its standard input is a pipe whose only write end is in the parent; messages are one letter and a text,
ended by a zero byte:

    a PID     adopt a process group
    r PID     release it again
    t PATH    here the parent makes its directories; what dead owners left here is removed now

The parent is gone when the pipe ends, or when its process ends although somebody else (a fork made behind Python's
back) still holds the pipe.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

MARKER = "LAB_GUARD"  # this environment variable lists the identities of the owners of a process, separated by ":"
DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
OURS = re.compile(r"lab-(?P<machine>[0-9a-f]{8})-(?P<identity>(?P<pid>\d+)-(?P<start>\d+))-")
HAVE_PROC = os.path.isdir("/proc/self")


def start_time(pid: int) -> int:
    """When this process started, in a unit of the system's own; 0 when there is no such process."""
    if HAVE_PROC:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return int(file.read().rpartition(b")")[2].split()[19])
        except (OSError, IndexError):
            return 0
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, env={"LC_ALL": "C"}, check=False
    )
    try:
        return int(time.mktime(time.strptime(shown.stdout.decode().strip())))
    except ValueError:
        return 0


def processes_of(identity: str, places: tuple[str, ...]) -> list[int]:
    """The processes that carry the mark of `identity`, or whose working directory's path begins with one of `places`.

    One sign is not enough: Redis overwrites its environment with its title, a daemon leaves its working directory, and
    a process that was forked a moment ago has not been adopted yet. Without an `identity` only the places count.
    """
    if HAVE_PROC:
        return _by_proc(identity, places)
    return _by_ps(identity) if identity else []


def _by_proc(identity: str, places: tuple[str, ...]) -> list[int]:
    wanted = identity.encode()
    prefix = MARKER.encode() + b"="
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            ours = os.readlink(f"/proc/{entry}/cwd").startswith(places)
            if wanted and not ours:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    marks = [part[len(prefix) :] for part in file.read().split(b"\0") if part.startswith(prefix)]
                ours = any(wanted in mark.split(b":") for mark in marks)
        except OSError:
            continue  # it ended while we looked, or belongs to somebody else
        if ours:
            found.append(int(entry))
    return found


def _by_ps(identity: str) -> list[int]:
    shown = subprocess.run(["ps", "eww", "-axo", "pid=,command="], capture_output=True, check=False).stdout
    mark = re.compile(rf"{MARKER}=(\S+:)?{re.escape(identity)}(:|\s|$)".encode())
    pids = [int(line.split(None, 1)[0]) for line in shown.splitlines() if mark.search(line)]
    return [pid for pid in pids if pid != os.getpid()]


def kill(pids: list[int], *, groups: bool = False) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if groups else os.kill)(pid, signal.SIGKILL)


def sweep(identity: str, places: tuple[str, ...], *, looks: int = 5, limit_s: float = 10.0) -> None:
    """Kill until several looks in a row find nobody, each after a pause twice as long as the last.

    Five looks take a third of a second. A process may fork while we kill, and what the owner forked in its last
    moment looks like the owner until it has changed its directory and its environment, which takes a while on a busy
    machine.
    """
    quiet, end = 0, time.monotonic() + limit_s
    while quiet < looks and time.monotonic() < end:
        found = processes_of(identity, places)
        kill(found)
        quiet = 0 if found else quiet + 1
        if quiet < looks:
            time.sleep(0.01 * 2**quiet)


def remove(directory: str) -> None:
    """Remove a directory, although something may still be writing into it for a moment."""
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            return
        time.sleep(0.02)


def directories_in(root: str, machine: str) -> list[tuple[str, re.Match]]:
    """The directories of this user and this machine that a `reaper` made in `root`, with the parts of their names.

    A container that shares the directory with its host numbers its processes differently, so the host's living owners
    would look dead to it: the machine is part of the name.
    """
    found = []
    try:
        for entry in os.scandir(root):
            parts = OURS.match(entry.name)
            if parts and parts["machine"] == machine and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                found.append((entry.path, parts))
    except OSError:
        pass  # no such directory, or it changed while we read it: the next start looks again
    return found


class Charge:
    """What this guard has been told to watch over."""

    def __init__(self, identity: str, machine: str) -> None:
        self.identity, self.machine = identity, machine
        self.groups: dict[int, int] = {}  # process group -> start time of its first process
        self.roots: set[str] = set()

    def obey(self, message: bytes) -> None:
        order, text = message[:1], os.fsdecode(message[1:])
        if order == b"a":
            self.groups[int(text)] = start_time(int(text))
        elif order == b"r":
            self.groups.pop(int(text), None)
        elif order == b"t":
            self.roots.add(text)
            self.clear_up_after_the_dead(text)

    def clear_up_after_the_dead(self, root: str) -> None:
        """Finish what the guards of dead owners could not, because they were killed as well."""
        for path, parts in directories_in(root, self.machine):
            if start_time(int(parts["pid"])) != int(parts["start"]):
                kill(processes_of(parts["identity"], (path + "/",)))
                remove(path)

    def finish(self) -> None:
        # A number whose process is another one by now was given to a stranger; a group that lost its first process
        # keeps the number reserved.
        kill([pid for pid, start in self.groups.items() if start_time(pid) in (start, 0)], groups=True)
        places = tuple(f"{root}/lab-{self.machine}-{self.identity}-" for root in self.roots)
        kill(processes_of(self.identity, places))
        # A busy disk takes its time for each directory, so all at once, and while we look for stragglers.
        removing = [threading.Thread(target=remove, args=(directory,)) for directory in self.directories()]
        for thread in removing:
            thread.start()
        sweep(self.identity, places)
        for thread in removing:
            thread.join()
        for directory in self.directories():  # a straggler was still writing
            remove(directory)

    def directories(self) -> list[str]:
        found = [each for root in self.roots for each in directories_in(root, self.machine)]
        return [path for path, parts in found if parts["identity"] == self.identity]


def wait_and_obey(charge: Charge, parent: int) -> None:
    """Return when the parent is gone."""
    watched, unread = [0], b""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # an old kernel, or the parent is gone: the check below notices
            watched.append(os.pidfd_open(parent))
    alive = True
    while True:
        readable = select.select(watched, [], [], 0.25 if alive else 0)[0]
        if 0 in readable:  # first of all, also the last words of a parent that is gone
            data = os.read(0, 65536)
            if not data:
                return
            *messages, unread = (unread + data).split(b"\0")
            for message in messages:
                charge.obey(message)
        elif not alive:
            return
        alive = alive and os.getppid() == parent and len(readable) == (0 in readable)


def main() -> None:
    identity, parent, machine, *roots = sys.argv[1:]
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    charge = Charge(identity, machine)
    charge.roots.update(roots)  # known from the first instruction: the parent may not live to send a message
    wait_and_obey(charge, int(parent))
    charge.finish()


if __name__ == "__main__":
    main()
