"""Running an installer (pip, uv, apt-get, brew) with one line of progress, and without leaving it behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence

# The installer's guardian: it runs the command and, when its standard input closes, which happens at the latest when
# our own process dies of anything, ends everything that the command has started. Temporary files go last.
_GUARDIAN = """
import contextlib, os, shutil, signal, subprocess, sys, tempfile, threading
scratch = tempfile.mkdtemp(prefix="lab-install-")
command = subprocess.Popen(
    sys.argv[2:],
    stdin=subprocess.DEVNULL,
    env={**os.environ, "TMPDIR": scratch},
    pass_fds=[int(number) for number in sys.argv[1].split()],
    start_new_session=True,
)
def kill():
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)
def lifeline():
    sys.stdin.buffer.read()
    kill()
threading.Thread(target=lifeline, daemon=True).start()
status = command.wait()
kill()
shutil.rmtree(scratch, ignore_errors=True)
os._exit(status if status >= 0 else 128 - status)
"""


class StatusLine:
    """What is going on, with the seconds so far: one line rewritten on a terminal, a line now and then elsewhere.

    Args:
        title: the words in front.
        stream: where it is shown; standard error by default, so that ``--json`` answers stay clean.
    """

    CALM_S = 15.0  # how long a log that nobody watches live may stay silent

    def __init__(self, title: str, stream=None) -> None:
        self.title = title
        self._stream = sys.stderr if stream is None else stream
        self._live = hasattr(self._stream, "isatty") and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._started = time.monotonic()
        self._phase = self._detail = ""
        self._shown_at = 0.0
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> StatusLine:
        self._ticker.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._done.set()
        self._ticker.join()
        with self._lock:
            self._erase()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def phase(self, words: str) -> None:
        """Begin another phase: always shown."""
        with self._lock:
            changed, self._phase, self._detail = words != self._phase, words, ""
            if changed:
                self._show()

    def detail(self, words: str) -> None:
        """What the phase is at: shown at once on a terminal only."""
        with self._lock:
            self._detail = words
            if self._live:
                self._show()

    def say(self, words: str) -> None:
        """A line that stays."""
        with self._lock:
            self._erase()
            self._stream.write(words + "\n")
            self._stream.flush()

    def _tick(self) -> None:
        while not self._done.wait(1.0):
            with self._lock:
                if self._phase and (self._live or time.monotonic() - self._shown_at >= self.CALM_S):
                    self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        text = f"{self.title}: {self._phase}{' ' + self._detail if self._detail else ''} ({self.elapsed_s:.0f} s)"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\x1b[K" + (text if len(text) <= width else text[: width - 1] + "…"))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def _erase(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def run(
    command: Sequence[str | os.PathLike],
    *,
    on_line: Callable[[str], None] = lambda line: None,
    env: dict[str, str] | None = None,
    keep_open: Sequence[int] = (),
) -> tuple[int, str]:
    """Run an installer to its end; it ends at once when we are interrupted, killed or otherwise gone.

    Args:
        command: program and arguments.
        on_line: called with each line that it prints.
        env: its environment, ours by default; its temporary files stand in a directory that is removed with it.
        keep_open: descriptors that it holds open as long as it runs (our lock).

    Returns:
        (exit status, everything it printed).
    """
    base = getattr(sys, "_base_executable", None) or sys.executable
    guarded = [base, "-I", "-S", "-c", _GUARDIAN, " ".join(map(str, keep_open)), *map(os.fspath, command)]
    printed = []
    with subprocess.Popen(
        guarded,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        pass_fds=list(keep_open),
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            printed.append(line)
            on_line(line.rstrip())
        return process.wait(), "".join(printed)


def run_uncut(command: Sequence[str], started: Callable[[subprocess.Popen], None]) -> tuple[int, str]:
    """Run a system's own installer, which must never be cut off halfway: it goes on when we are gone.

    Args:
        command: program and arguments.
        started: called with the process, which may be asked to stop (SIGINT) and takes its time.

    Returns:
        (exit status, everything it printed).
    """
    with tempfile.TemporaryFile() as output:  # a pipe would break, and the installer with it, when we end first
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        started(process)
        status = process.wait()
        output.seek(0)
        return status, output.read().decode("utf-8", "replace")


@contextlib.contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Let a closed terminal and a polite kill clean up as Ctrl-C does."""

    def stop(number, _frame):
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
