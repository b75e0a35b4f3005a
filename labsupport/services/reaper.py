"""No orphans: whatever this Python process starts ends with it, however it ends.

    directory = reaper.private_directory("etcd")       # 0700, removed at the end
    process = subprocess.Popen(argv, cwd=directory, env=reaper.env({...}), start_new_session=True)
    reaper.adopt(process.pid)                          # from now on its process group dies with us
    ...
    process.wait(); reaper.release(process.pid)
    reaper.discard(directory)

An exit handler does not run when a kernel is restarted (its whole process group gets SIGKILL), so the work is done by
another process, the `guard`: one for each Python process, started at first use in a session of its own.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path

from labsupport.errors import SetupError, disk_errors_explained
from labsupport.services import guard


class _Reaper:
    """The guard process of this Python process, and a memory of what it was told, in case it has to be started anew."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin afresh: in the first process, and again in each forked child."""
        self.lock = threading.RLock()
        self.process: subprocess.Popen | None = None
        self.groups: set[int] = set()
        self.roots: set[str] = set()
        self._identity = ""

    @property
    def identity(self) -> str:
        """Names this process: no other has had its number and its start time."""
        if not self._identity:
            self._identity = f"{os.getpid()}-{guard.start_time(os.getpid())}"
        return self._identity

    def after_fork(self) -> None:
        # The guard would go on waiting for as long as a child holds its pipe.
        if self.process is not None:
            self.process.stdin.close()
            self.process.returncode = 0  # not our child: nothing to wait for
        self.forget()

    def say(self, message: str) -> None:
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self._start()
                return  # it was told everything, this message too
            try:
                os.write(self.process.stdin.fileno(), os.fsencode(message) + b"\0")
            except BrokenPipeError:
                self._start()

    def _start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != guard.MARKER}
        # Deaf from its first instruction: what is blocked here stays blocked across the exec.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, guard.DEAF)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, self.identity, str(os.getpid()), machine(), *self.roots],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                bufsize=0,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        told = [f"a{pid}" for pid in self.groups] + [f"t{root}" for root in self.roots]
        os.write(self.process.stdin.fileno(), b"".join(os.fsencode(message) + b"\0" for message in told))


@functools.cache
def machine() -> str:
    """Names this machine and, on Linux, its process namespace, in eight hexadecimal digits."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{zlib.crc32(f'{os.uname().nodename} {namespace}'.encode()):08x}"


_reaper = _Reaper()
os.register_at_fork(after_in_child=_reaper.after_fork)


def env(environment: dict[str, str]) -> dict[str, str]:
    """A copy of `environment` with our mark, by which the guard finds processes that nobody told it about.

    The marks add up: what a learner's own program starts is found by its guard and by ours.
    """
    outer = os.environ.get(guard.MARKER)
    return {**environment, guard.MARKER: f"{outer}:{_reaper.identity}" if outer else _reaper.identity}


def adopt(pid: int) -> None:
    """Kill the process group `pid` when this Python process ends (start it with ``start_new_session=True``)."""
    with _reaper.lock:
        _reaper.groups.add(pid)
        _reaper.say(f"a{pid}")


def release(pid: int) -> None:
    """Forget a process group, right after its first process has been waited for (its number may be used again)."""
    with _reaper.lock:
        if pid in _reaper.groups:
            _reaper.groups.discard(pid)
            _reaper.say(f"r{pid}")


def private_directory(name: str, place: Path | None = None) -> Path:
    """Make a directory that only this user can enter, and that is removed when this Python process ends.

    Args:
        name: appears in the directory's name, to tell people what it is for.
        place: where; the directory for temporary files by default.

    Raises:
        SetupError: there is no room, or nowhere to write.
    """
    try:
        root = os.path.realpath(place or tempfile.gettempdir())
    except FileNotFoundError as error:
        raise SetupError(
            "No temporary directory can be written.",
            cause="the disk is full or read-only",
            do="set TMPDIR to a directory of your own with room",
        ) from error
    with _reaper.lock:
        if root not in _reaper.roots:
            _reaper.roots.add(root)
            _reaper.say(f"t{root}")
    with disk_errors_explained("making a private directory", root):
        # The guard knows our directories by their names, so there is no moment at which it does not know one.
        return Path(tempfile.mkdtemp(prefix=f"lab-{machine()}-{_reaper.identity}-{name}-", dir=root))


def kill_inside(path: Path) -> None:
    """Kill every process that works in a directory, and return when there is none."""
    guard.sweep("", (f"{os.path.realpath(path)}/",), looks=1)


def discard(path: Path) -> None:
    """Remove a private directory now."""
    guard.remove(str(path))


def guard_pid() -> int | None:
    """The process number of the guard, or None before its first use."""
    process = _reaper.process
    return process.pid if process is not None and process.poll() is None else None
