"""One node's operating-system process: its three streams without waiting, its life and death, its last words."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable

from labsupport.errors import SetupError, disk_errors_explained
from labsupport.services import reaper

READ_BYTES = 65_536
KEPT_LOG = 200_000  # bytes of standard error that are kept: what a person would read, and no flood
LAST_LINES = 32  # of both streams, for the report of a node that has ended by itself
LONGEST_LINE = 8_000_000  # bytes; nobody sends more in one message
DRAINS = 17  # reads that empty any pipe: systems let it grow to a megabyte
MOST_WAITING = 64_000_000  # bytes that may wait for a node that does not read


class Process:
    """One life of one node.

    Args:
        argv, environment: what to start.
        directory: where it works.
        together: whether messages may be written several at a time. A program that asks its system whether there is
            something to read, and then reads one line through a buffer, sees the second only when a third comes.
        log: the end of what earlier lives have written to standard error.
    """

    def __init__(
        self, argv: list[str], environment: dict[str, str], directory: pathlib.Path, together: bool, log: bytearray
    ) -> None:
        self._together, self.log = together, log
        self.printed: collections.deque[str] = collections.deque(maxlen=LAST_LINES)  # lines that are no messages
        self.waiting: list[bytes] = []  # lines to be written
        self.waiting_bytes = 0
        self._part = memoryview(b"")  # what is left of lines that are being written
        self._unread = b""
        self.ended = False  # whether it was waited for
        with disk_errors_explained("starting a node", directory):
            try:
                self._popen = subprocess.Popen(
                    argv,
                    cwd=directory,
                    env=reaper.env(environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                )
            except OSError as error:
                if error.filename is None and error.errno is not None:
                    raise  # the disk, the number of processes
                raise SetupError(
                    f"{argv[0]} cannot be started: {error.strerror}.",
                    cause="the file is no program that this machine can run, or its first line names none",
                    do="try it in a terminal",
                ) from error
        reaper.adopt(self.pid)
        self.input, self.output, self.errors = (
            stream.fileno() for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        )
        for fd in (self.input, self.output, self.errors):
            os.set_blocking(fd, False)

    @property
    def pid(self) -> int:
        """Its process number, and that of its process group."""
        return self._popen.pid

    # ---------------------------------------------------------------- streams

    def write(self, line: bytes) -> bool:
        """Put a line with what is written next; False when too much is waiting."""
        if self.waiting_bytes > MOST_WAITING:
            return False
        self.waiting.append(line)
        self.waiting_bytes += len(line) + 1
        return True

    def flush(self) -> bool:
        """Write what is waiting; False when the process does not take more now.

        Raises:
            BrokenPipeError: it has closed its standard input.
        """
        try:
            while self._part or self.waiting:
                if not self._part:
                    lines = self.waiting if self._together else self.waiting[:1]
                    self._part = memoryview(b"\n".join(lines) + b"\n")
                    del self.waiting[: len(lines)]
                done = os.write(self.input, self._part)
                self.waiting_bytes -= done
                self._part = self._part[done:]
        except BlockingIOError:
            return False
        return True

    def read(self) -> list[bytes] | None:
        """The lines that have come on standard output; None at its end."""
        try:
            data = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > LONGEST_LINE:
            lines.append(self._unread)
            self._unread = b""
        return lines

    def read_errors(self) -> bool:
        """Keep what has come on standard error; False at its end."""
        try:
            data = os.read(self.errors, READ_BYTES)
        except BlockingIOError:
            return True
        self.log += data
        if len(self.log) > 2 * KEPT_LOG:
            del self.log[:-KEPT_LOG]
        return bool(data)

    # ---------------------------------------------------------------- life and death

    def signal(self, number: int) -> None:
        """Send a signal to its whole process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a dead group
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it at once, with all that it has started; returns when it is gone."""
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def stop(self) -> None:
        """Let it stand still, with all that it has started."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on; it does not know that time has passed."""
        self.signal(signal.SIGCONT)

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll()

    def drain(self, take: Callable[[bytes], None]) -> None:
        """Read what a dead process has left in its pipes; a child of its own may hold them open, so wait for no end."""
        for _ in range(DRAINS):
            for line in self.read() or ():
                take(line)
            self.read_errors()

    def close(self) -> None:
        """Let go of a process that has ended."""
        self.ended = True
        reaper.release(self.pid)
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            with contextlib.suppress(OSError):
                stream.close()

    @property
    def last_words(self) -> tuple[list[str], list[str]]:
        """The last lines of its standard output that were no messages, and of its standard error."""
        log = bytes(self.log[-READ_BYTES:]).decode(errors="replace").splitlines()
        return list(self.printed), log[-LAST_LINES:]
