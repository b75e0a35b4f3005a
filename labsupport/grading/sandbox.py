"""Where submitted code runs: it sees no files but its own, reaches nobody, uses a bounded share, and leaves nothing.

    with Sandbox(modules) as sandbox:                # warm; one for each grading process
        with sandbox.cell() as cell:                 # fresh namespaces for one exercise
            answer.launch = cell.launch              # the check's children start inside
            verdict = run_check(exercise, answer, seed=7, full=True)

On Linux a cell has a root directory of its own with the system's programs, Python and this package, all read only, and
an empty scratch directory in memory; it sees its own processes only, has no capabilities, and is a user of its own
where the grader is root. Its network is that of the grading process, which has a loopback interface and nothing else
(`isolation.own_network`): what listens there is what the exercise's check has started. All ends with the cell.
Elsewhere only limits hold, and as root that user of its own; `weaknesses` says what does not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labsupport.errors import LabBug
from labsupport.grading import isolation
from labsupport.services import guard, reaper

FIRST_UID = 61_184  # of users that systemd leaves to programs like this one, https://systemd.io/UIDS-GIDS/
USERS = 4_000
WARM = (
    "cloudpickle",
    "uuid",
    "labsupport.grading.kernel",
    "labsupport.exercises.host",
    "labsupport.exercises.hosted",
    "labsupport.exercises.notebook",
    "labsupport.search",
)
READY_S = 60.0
PACKAGE = pathlib.Path(__file__).resolve().parents[1]
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "GRPC_VERBOSITY", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


def weaknesses() -> list[str]:
    """What this machine cannot enforce, one sentence each; nothing if all holds."""
    if sys.platform != "linux":
        return [
            f"{sys.platform} has no namespaces: submitted code can read your files and reach the network, and only its "
            "memory, files, processes and time are limited. Grade on Linux when you do not trust it."
        ]
    place = tempfile.mkdtemp()
    try:
        refused = isolation.refusal(lambda: (isolation.own_network(), _shut_in(place)))
    finally:
        os.rmdir(place)
    if not refused:
        return []
    readable = "your files" if _user(isolated=False) is None else "what all users of this machine can read"
    return [
        f"this kernel refuses namespaces ({refused}): submitted code can read {readable} and reach the network, and "
        "only its memory, files, processes and time are limited. As root, or where unprivileged user namespaces are "
        "allowed (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu), it is shut in."
    ]


def _shut_in(place: str) -> None:
    scratch = os.path.realpath(tempfile.gettempdir())
    inside = isolation.own_root([], scratch, place)
    if isolation.fork_first() == 0:
        with contextlib.suppress(OSError):
            isolation.own_scratch(scratch, inside, 1)
            os._exit(0)
        os._exit(1)
    if os.wait()[1]:
        raise OSError("a mount of /proc or of a scratch directory is not permitted")


class Process:
    """A sandboxed process, with the part of `subprocess.Popen` that `labsupport.exercises.answer.Child` uses."""

    def __init__(self, pid: int, stdin: int, stdout: int, status: int) -> None:
        self.pid, self.returncode = pid, None
        self.stdin, self.stdout = os.fdopen(stdin, "wb", buffering=0), os.fdopen(stdout, "rb", buffering=0)
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; its exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (
            status := self._look(0.2 if deadline is None else max(0, min(0.2, deadline - time.monotonic())))
        ) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("sandboxed process", timeout)
        return status

    def _look(self, seconds: float) -> int | None:
        with contextlib.suppress(OSError):  # another thread has read the status meanwhile, and closed its pipe
            if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
                with self._lock:
                    if self.returncode is None:
                        told = os.read(self._status, 16)
                        self.returncode = int(told) if told.lstrip(b"-").isdigit() else -signal.SIGKILL
                        os.close(self._status)
        return self.returncode


class Cell:
    """One exercise's part of the sandbox; use it as a context manager."""

    def __init__(self, line: socket.socket, scratch: str, isolated: bool) -> None:
        self._line, self._isolated = line, isolated
        self.scratch = scratch  # the directory in which its code may write
        self._lock = threading.Lock()
        _, self._first = self._told()

    def launch(
        self, directory: os.PathLike[str], environment: Mapping[str, str], report: int, fds: Sequence[int] = ()
    ) -> Process:
        """Start a process that holds an answer, as `labsupport.exercises.answer.launched` does without a sandbox."""
        return self.start("host", directory, environment, report, fds)

    def start(
        self, run: str, directory: object, environment: Mapping[str, str], report: int, fds: Sequence[int] = ()
    ) -> Process:
        """Start a process; `run` is "host" or "kernel"."""
        (child_in, stdin), (stdout, child_out), (status, child_status) = os.pipe(), os.pipe(), os.pipe()
        order = {
            "run": run,
            "directory": str(directory),
            "environment": _environment(environment, str(directory)),
            "keep": list(fds),
            "report": report,
        }
        given = [child_in, child_out, report, child_status, *fds]
        try:
            with self._lock:
                socket.send_fds(self._line, [json.dumps(order).encode() + b"\n"], given)
                pid, handle = self._told()
        except BaseException:
            for fd in (stdin, stdout, status):
                os.close(fd)
            raise
        finally:
            for fd in (child_in, child_out, child_status):
                os.close(fd)
        if handle is not None:
            os.close(handle)
        return Process(pid, stdin, stdout, status)

    def is_empty(self) -> bool:
        """Whether nothing runs in it (any more), and its scratch directory is not full."""
        with self._lock:
            try:
                self._line.sendall(b'{"run": "nothing"}\n')
                return bool(json.loads(self._line.recv(1 << 16))["empty"])
            except (OSError, ValueError):
                return False

    def close(self) -> None:
        """End everything that runs in it, and return when it is gone."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)  # without namespaces its first process kills the groups that it knows
            while not self._isolated and self._line.recv(1 << 16):
                pass
        self._line.close()
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            select.select([self._first], [], [], READY_S)
            os.close(self._first)
            self._first = None

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _told(self) -> tuple[int, int | None]:
        """The number of a process, as it is outside, and on Linux a descriptor of it."""
        try:
            data, fds, _, _ = socket.recv_fds(self._line, 1 << 16, 1)
        except TimeoutError:
            data, fds = b"", []
        told = json.loads(data) if data.endswith(b"\n") else {"failed": "it said nothing"}
        if "failed" in told:
            raise LabBug(f"the sandbox did not start a process: {told['failed']}")
        return (_outside(fds[0]) or told["pid"], fds[0]) if fds else (told["pid"], None)


class Sandbox:
    """The warm process of one grading process, from which cells are forked; use it as a context manager.

    Args:
        modules: what is imported beforehand.
        isolated: whether `weaknesses` found none.
        limits: of each exercise.
        shown: more directories that its code may read.
        path: directories for ``sys.path``.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        *,
        isolated: bool,
        limits: isolation.Limits | None = None,
        shown: Sequence[str] = (),
        path: Sequence[str] = (),
    ) -> None:
        self.isolated = isolated
        self._home = reaper.private_directory("zygote-")
        self._shown = [*_shown(), *shown]
        self._path = os.pathsep.join([str(PACKAGE.parent), *path, *filter(None, [os.environ.get("PYTHONPATH")])])
        uid = _user(isolated)
        self._settings = {
            "modules": [*WARM, *modules],
            "isolated": isolated,
            "shown": self._shown,
            "scratch": os.path.realpath(tempfile.gettempdir()) if isolated else self._own_scratch(uid),
            "place": str(self._home),
            "limits": dataclasses.asdict(limits or isolation.Limits()),
            "uid": uid,
        }
        self._line: socket.socket | None = None
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Sandbox:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        reaper.discard(self._home)

    def cell(self) -> Cell:
        """A new cell; the warm process is started again if something has ended it."""
        for attempt in (1, 2):
            ours, theirs = socket.socketpair()
            ours.settimeout(READY_S)
            try:
                with theirs:
                    socket.send_fds(self._line, [b"c"], [theirs.fileno()])
                return Cell(ours, self._settings["scratch"], self.isolated)
            except (OSError, LabBug):
                ours.close()
                if attempt == 2:
                    raise
                self._stop()
                self._start()
        raise AssertionError("not reached")

    def _own_scratch(self, uid: int | None) -> str:
        """Where no namespace has a scratch directory of its own: one that the user `uid` may write."""
        scratch = self._home / "scratch"
        scratch.mkdir()
        if uid is not None:
            self._home.chmod(0o711)
            os.chown(scratch, uid, -1)
        return str(scratch)

    def _start(self) -> None:
        self._line, theirs = socket.socketpair()
        self._line.settimeout(READY_S)
        environment = {
            **_environment({}, str(self._home)),
            "PYTHONPATH": self._path,
            "IPYTHONDIR": str(self._home),
            "MPLCONFIGDIR": str(self._home),
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "labsupport.grading.zygote", str(theirs.fileno())],
                cwd=self._home,
                env=reaper.env(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        reaper.adopt(self._process.pid)
        self._line.sendall(json.dumps(self._settings).encode() + b"\n")
        if self._line.recv(16) != b"ready\n":
            raise LabBug("the sandbox did not start")

    def _stop(self) -> None:
        if self._process is not None:
            self._line.close()
            self._process.kill()
            self._process.wait()
            reaper.release(self._process.pid)


def _environment(given: Mapping[str, str], home: str) -> dict[str, str]:
    """Of the grading process's environment nothing but what a program needs to find its way."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON}
    kept |= {name: value for name, value in given.items() if name in PASSED_ON or name == guard.MARKER}
    fixed = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "PYTHONHASHSEED": "0", "GRPC_VERBOSITY": "NONE"}
    return {**kept, **fixed, "HOME": home, "TMPDIR": home, "PYTHONDONTWRITEBYTECODE": "1"}


def _shown() -> Iterator[str]:
    """What Python and this package need; it reads in pyproject.toml what belongs to an extra."""
    ours = [PACKAGE, PACKAGE.parent / "lessons" / "idl", PACKAGE.parent / "pyproject.toml"]
    secret = {str(PACKAGE.parent), os.getcwd(), os.path.expanduser("~")}
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *map(str, ours)]
    for place in map(os.path.realpath, filter(None, places)):
        if os.path.exists(place) and not any(f"{one}/".startswith(f"{place}/") for one in secret):
            yield place


def _user(isolated: bool) -> int | None:
    """The user that submitted code becomes: one of its own if we are root and others can read this package and Python.

    Where directories are not shown in a root of its own, it also has to be let through all those above them.
    """
    if os.geteuid() != 0:
        return None
    paths = [pathlib.Path(path) for path in (__file__, os.__file__, json.__file__, sys.prefix)]
    above = () if isolated else {parent for path in paths for parent in path.parents}
    open_to_all = all(path.stat().st_mode & 0o004 for path in paths) and all(up.stat().st_mode & 0o001 for up in above)
    return FIRST_UID + os.getpid() % USERS if open_to_all else None


def _outside(handle: int) -> int | None:
    """The number by which this process knows the one that a descriptor stands for."""
    with open(f"/proc/self/fdinfo/{handle}", encoding="ascii") as file:
        found = {name: value for name, _, value in (line.partition(":") for line in file)}
    return max(int(found["Pid"]), 0) or None


@contextlib.contextmanager
def timer(seconds: float, act: Any) -> Iterator[None]:
    """Call `act` when the block takes longer than `seconds`."""
    clock = threading.Timer(seconds, act)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()
