"""The process that the sandboxed ones are forked from: warm, with everything imported, and empty of secrets.

Run as ``python -m labsupport.grading.zygote FD``; FD is a Unix socket to the grading process, which sends one JSON line
with what the sandbox is like and then a descriptor for each exercise, the end of another socket. For each of those the
zygote forks a *cell*: the first process of namespaces of its own, which forks the exercise's processes, one for each
line that it is sent:

    {"run": "host" | "kernel" | "nothing", "directory": …, "environment": {…}, "keep": [FD, …], "report": FD}

with the descriptors of standard input, standard output, the report pipe, a pipe for the exit status, and those to keep.
Asked for nothing it says whether it is empty. When the socket is closed the cell ends, and everything in it with it.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from labsupport.grading import isolation

HIGH = 400  # descriptors wait above this number while those below it are put in their places
MOST_FDS = 64
LOOK_S = 0.25  # how often the memory of all processes together is looked at
SMALL_PAGES = 20_000  # 80 MB: a forked process begins with a third of that, all of it shared


def main(fd: int) -> int:
    """Warm up, shut ourselves in, say what holds, and fork a cell for each descriptor that comes."""
    line = socket.socket(fileno=fd)
    settings = json.loads(_line(line))
    warm = settings["modules"]
    for module in warm:
        importlib.import_module(module)
    if "labsupport.grading.kernel" in warm:
        from labsupport.grading import kernel

        kernel.warm()
    gc.collect()
    gc.freeze()
    if settings["isolated"]:
        settings["inside"] = isolation.own_root(settings["shown"], settings["scratch"], settings["place"])
        isolation.guarded()
    line.sendall(b"ready\n")
    while True:
        data, fds, _, _ = socket.recv_fds(line, 1, 1)
        if not data:
            return 0
        if (isolation.fork_first if settings["isolated"] else os.fork)() == 0:
            line.close()
            _cell(socket.socket(fileno=fds[0]), settings)
        os.close(fds[0])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _cell(line: socket.socket, settings: dict[str, Any]) -> None:
    """In the forked process: become the parent of a cell's processes; never returns."""
    try:
        if settings["isolated"]:
            isolation.own_scratch(settings["scratch"], settings["inside"], settings["limits"]["scratch_mb"])
        _lead(line, settings)
    except BaseException as error:
        with contextlib.suppress(OSError):
            line.sendall(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    finally:
        os._exit(1)


def _lead(line: socket.socket, settings: dict[str, Any]) -> None:
    """Fork what is asked for and tell how each process ended, until the socket is closed."""
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    statuses: dict[int, int] = {}  # process -> the pipe that waits for its exit status
    _tell(line, {"pid": os.getpid()}, os.getpid())
    while True:
        ready, _, _ = select.select([line, wake], [], [], LOOK_S if statuses else None)
        if settings["isolated"] and statuses and _memory_mb() > settings["limits"]["total_mb"]:
            os.kill(-1, signal.SIGKILL)  # everybody in this namespace but us
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 1024)
            _reap(statuses)
        if line in ready:
            data, fds, _, _ = socket.recv_fds(line, 1 << 20, MOST_FDS)
            if not data:
                break
            while not data.endswith(b"\n"):
                data += line.recv(1 << 20)
            order = json.loads(data)
            if order["run"] == "nothing":
                _reap(statuses)
                line.sendall(json.dumps({"empty": settings["isolated"] and _is_empty(settings["scratch"])}).encode())
                continue
            pid = os.fork()
            if pid == 0:
                _become(order, fds, settings)
            statuses[pid] = fds[3]
            for number in (*fds[:3], *fds[4:]):
                os.close(number)
            _tell(line, {"pid": pid}, pid)
    for pid in statuses:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    if settings["uid"] and not settings["isolated"]:
        if (pid := os.fork()) == 0:
            isolation.drop(settings["uid"])
            os.kill(-1, signal.SIGKILL)  # all processes of that user but this one
            os._exit(0)
        os.waitpid(pid, 0)


def _tell(line: socket.socket, told: dict[str, Any], pid: int) -> None:
    """Answer with a process's number and, on Linux, a descriptor of it: the number is another one outside."""
    data = json.dumps(told).encode() + b"\n"
    if not hasattr(os, "pidfd_open"):
        line.sendall(data)
        return
    handle = os.pidfd_open(pid)
    line.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))])
    os.close(handle)


def _memory_mb() -> float:
    """What the processes here hold together; pages that they share count once."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            with contextlib.suppress(OSError, ValueError, IndexError):
                _, resident, shared = map(int, Path(f"/proc/{name}/statm").read_text("ascii").split()[:3])
                if (
                    resident - shared > SMALL_PAGES
                ):  # the others hold little of their own, and this file is dear to read
                    rollup = Path(f"/proc/{name}/smaps_rollup").read_text("ascii")
                    total += int(rollup.partition("\nPss:")[2].split()[0])
    return total / 1024


def _is_empty(scratch: str) -> bool:
    """Whether we are the only process here, and half of the scratch directory is free."""
    room = os.statvfs(scratch)
    alone = [name for name in os.listdir("/proc") if name.isdigit()] == ["1"]
    return alone and min(room.f_bfree / room.f_blocks, room.f_ffree / room.f_files) > 0.5


def _reap(statuses: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in statuses:
            told = statuses.pop(pid)
            with contextlib.suppress(OSError):
                os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(told)


def _become(order: dict[str, Any], fds: list[int], settings: dict[str, Any]) -> None:
    """In the last forked process: take the descriptors, give up what is not needed, run; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _place(dict(zip([0, 1, order["report"], *order["keep"]], [*fds[:3], *fds[4:]], strict=True)))
        os.dup2(1, 2)
        limits = isolation.Limits(**settings["limits"])
        os.environ.clear()
        os.environ.update(order["environment"])
        if not settings["isolated"] and settings["uid"]:
            os.makedirs(order["directory"], mode=0o700, exist_ok=True)
            os.chown(order["directory"], settings["uid"], -1)
        if settings["isolated"] or settings["uid"]:
            isolation.drop(settings["uid"])
        limits.apply()
        os.makedirs(order["directory"], mode=0o700, exist_ok=True)
        os.chdir(order["directory"])
        if order["run"] == "kernel":
            from labsupport.grading import kernel

            code = kernel.serve(order["report"])
        else:
            from labsupport.exercises import host

            code = host.main(order["report"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)  # threads that the learner's code left running must not keep the process


def _place(wanted: dict[int, int]) -> None:
    """Give the descriptors the numbers that they have to have, and close all others."""
    high = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for number, fd in wanted.items()}
    os.closerange(3, HIGH)
    for number, fd in high.items():
        os.dup2(fd, number)
    os.closerange(HIGH, HIGH + 2 * MOST_FDS)


def _line(line: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = line.recv(1 << 16)
        if not more:
            sys.exit(1)
        data += more
    return data


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
