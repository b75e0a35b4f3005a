"""What a learner hands in, and the child processes in which it runs.

A check never calls a learner's object: it starts a child process that does, tells it what to do through a *driver*,
and watches from the outside. The child can be killed and frozen, and whatever it does to itself stays there.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import linecache
import os
import pathlib
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labsupport.errors import LearnerError
from labsupport.messages import learners
from labsupport.node import Node
from labsupport.services import reaper

KEPT_OUTPUT = 10_000  # bytes of a child's output that are kept: what a person would read, and no flood
MOST_TOLD = 20_000_000  # bytes of events of one child; a check reads thousands of short lines at most
GRANDCHILD_S = 0.5  # how long a pipe is read that may be open in a process of which nobody knows
STEP_S = 0.05  # how long a wait sleeps before it looks whether the learner has interrupted the check


@dataclasses.dataclass(frozen=True)
class Failure:
    """The exception that ended (or spoiled) a child: its class name, message and the learner's own frames."""

    kind: str
    message: str
    frames: tuple[tuple[str, int, str, str], ...] = ()

    @classmethod
    def of(cls, kind: str, message: str, frames: Sequence[Sequence[Any]]) -> Failure:
        """A failure as `labsupport.exercises.host` tells it; the lines of a notebook's cells are known only here."""
        known = ((file, line, name, text or linecache.getline(file, line).strip()) for file, line, name, text in frames)
        return cls(kind, message, tuple(known))

    @property
    def lines(self) -> tuple[str, ...]:
        """The traceback, learner's frames only, one line each, the exception last."""
        shown = [f"{_place(file)}, line {line}, in {function}: {text}" for file, line, function, text in self.frames]
        return (*shown, f"{self.kind}: {self.message}" if self.message else self.kind)


class ChildEnded(Exception):
    """A child ended before it did what the check was waiting for."""

    def __init__(self, child: Child, waiting_for: str) -> None:
        super().__init__(waiting_for)
        self.child, self.waiting_for = child, waiting_for


class Gone(BaseException):
    """Carries the reason out of a simulated world, which takes every Exception for one of its nodes' own."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class Interrupted(Exception):
    """The learner pressed stop while a check was running."""


def launched(
    directory: os.PathLike[str], environment: Mapping[str, str], report: int, fds: Sequence[int] = ()
) -> subprocess.Popen:
    """Start a process that will hold an answer, in a session of its own: `labsupport.exercises.host`.

    Args:
        directory: where it works.
        environment: its environment.
        report: the descriptor through which it tells what happens.
        fds: more descriptors that it keeps, under the same numbers.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "labsupport.exercises.host", str(report)],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(report, *fds),
        start_new_session=True,
    )


class Answer:
    """One learner's answer to one exercise: bytes that only a child process ever loads.

    Args:
        takes: the names of the objects, as the exercise lists them.
        kind: "pickle" (of the tuple of objects and the message classes that their nodes need, by wire type) or
            "source" (Python that defines them).
        data: those bytes.
        name: the file name that tracebacks show for a source.
    """

    def __init__(self, takes: Sequence[str], kind: str, data: bytes, name: str = "answer.py") -> None:
        self.takes, self.kind, self.data, self.name = tuple(takes), kind, data, name
        self.children: list[Child] = []
        self.interrupted = threading.Event()
        self.launch = launched  # a grader puts its sandbox here

    @classmethod
    def of(cls, takes: Sequence[str], objects: Sequence[Any]) -> Answer:
        """Pack objects of this process, by value where they were defined in a notebook.

        Raises:
            LearnerError: one of them holds something that cannot leave this process.
        """
        import cloudpickle

        nodes = any(isinstance(value, type) and issubclass(value, Node) for value in objects)
        try:
            return cls(takes, "pickle", cloudpickle.dumps((tuple(objects), learners() if nodes else {})))
        except Exception as error:  # pickling runs arbitrary __reduce__ methods
            raise LearnerError(
                f"{', '.join(takes)} cannot be sent to another process: {error}",
                cause="the code uses something that lives in this notebook, such as an open connection, a lock or a "
                "running service",
                do="open it inside the function, or take it as an argument",
            ) from error

    @classmethod
    def from_file(cls, takes: Sequence[str], path: str | os.PathLike[str]) -> Answer:
        """Take the answer from a Python file that defines the names; the file is run in the children only."""
        path = pathlib.Path(path)
        return cls(takes, "source", path.read_bytes(), str(path))

    def start(
        self, driver: Callable[..., Any], *, path: Sequence[str] = (), fds: Sequence[int] = (), **args: Any
    ) -> Child:
        """Start a child process that loads this answer and calls ``driver(given, tell, **args)``.

        Args:
            driver: a module-level function, plain or ``async``; it runs in the child.
            path: directories that the child puts first on ``sys.path``.
            fds: open files that it keeps, under the same numbers.
            args: JSON values for the driver.
        """
        order = {
            "driver": f"{driver.__module__}:{driver.__qualname__}",
            "args": args,
            "takes": self.takes,
            "kind": self.kind,
            "name": self.name,
            "path": [*path, *(entry or os.getcwd() for entry in sys.path)],
        }
        child = Child(json.dumps(order).encode() + b"\n" + self.data, self.interrupted, fds, self.launch)
        self.children.append(child)
        return child

    def close(self) -> None:
        """End every child that still runs."""
        for child in self.children:
            child.close()

    @property
    def printed(self) -> str:
        """What the children printed, in the order in which they were started."""
        return "".join(child.printed for child in self.children)[:KEPT_OUTPUT]

    @property
    def not_started(self) -> Failure | None:
        """The first NotImplementedError that a child reported, if one did."""
        failures = [child.failure for child in self.children if child.failure]
        return next((failure for failure in failures if failure.kind == "NotImplementedError"), None)


class Child:
    """One process that runs a learner's code; use it as a context manager."""

    def __init__(
        self, order: bytes, interrupted: threading.Event, fds: Sequence[int] = (), launch: Callable[..., Any] = launched
    ) -> None:
        self.failure: Failure | None = None
        self.exit_status: int | None = None
        self._killed = False
        self._interrupted = interrupted
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._seen: collections.deque[dict[str, Any]] = collections.deque()
        self._result: list[Any] = []
        self._output = bytearray()
        self._over = threading.Event()
        self._directory = reaper.private_directory("answer-")
        report, child_report = os.pipe()
        try:
            environment = reaper.env(_environment(self._directory))
            self._process = launch(self._directory, environment, child_report, fds)
        finally:
            os.close(child_report)
        reaper.adopt(self._process.pid)
        self._reader = threading.Thread(target=self._read, args=(report,), name="answer-reader", daemon=True)
        self._reader.start()
        try:
            self._process.stdin.write(order)
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once; whoever waits for it is told so

    # ---------------------------------------------------------------- what it says

    def events(self, timeout_s: float = 30.0) -> Iterator[dict[str, Any]]:
        """The driver's events as they come, until it ends or is silent for `timeout_s`."""
        while (event := self._next(time.monotonic() + timeout_s)) is not None:
            yield event

    def expect(self, name: str, timeout_s: float = 30.0, what: str = "") -> dict[str, Any]:
        """The next event of this name; earlier ones of other names stay for later calls.

        Raises:
            ChildEnded: the child ended first.
            TimeoutError: neither happened in `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        passed = []
        try:
            while True:
                event = self._next(deadline)
                if event is None:
                    waiting_for = what or f"the event {name!r}"
                    if self._over.is_set():
                        raise ChildEnded(self, waiting_for)
                    raise TimeoutError(f"waited {timeout_s:g} s for {waiting_for}")
                if event["event"] == name:
                    return event
                passed.append(event)
        finally:
            self._seen.extendleft(reversed(passed))

    def result(self, timeout_s: float = 30.0, what: str = "") -> Any:
        """What the driver returned.

        Raises:
            ChildEnded: it ended without a result, by an exception or a signal.
            TimeoutError: it still runs after `timeout_s`.
        """
        waiting_for = what or "the end of the code"
        if not self.wait(timeout_s):
            raise TimeoutError(f"waited {timeout_s:g} s for {waiting_for}")
        if not self._result:
            raise ChildEnded(self, waiting_for)
        return self._result[0]

    @property
    def printed(self) -> str:
        """What it printed so far, on both streams; the middle of a long text is left out."""
        text = bytes(self._output)
        if len(text) > KEPT_OUTPUT:
            half = KEPT_OUTPUT // 2
            text = text[:half] + b"\n[...]\n" + text[-half:]
        return text.decode(errors="replace")

    # ---------------------------------------------------------------- what is done to it

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def broke_down(self) -> bool:
        """Whether it has ended by its own fault: an exception, an exit or a signal that nobody here sent."""
        return not self._killed and self._over.wait(1) and (self.failure is not None or self.exit_status != 0)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended and all it said has been read; False when it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self._over.wait(min(STEP_S, max(0.0, deadline - time.monotonic()))):
            if self._interrupted.is_set():
                raise Interrupted
            if time.monotonic() >= deadline:
                return False
        return True

    def kill(self) -> None:
        """SIGKILL to its whole process group; returns when it is gone."""
        self._killed |= self.running
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._over.wait(10)

    def terminate(self) -> None:
        """SIGTERM, as a supervisor that wants it to finish its work and go."""
        self._signal(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it stands still, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on, not knowing that time has passed."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it if it still runs, and remove its directory."""
        self.kill()
        reaper.release(self._process.pid)
        reaper.discard(self._directory)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- inside

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # it has ended by itself, and so has its group
        except PermissionError:
            pass  # macOS answers so for a group of which only the zombie is left

    def _next(self, deadline: float) -> dict[str, Any] | None:
        if self._seen:
            return self._seen.popleft()
        while True:
            if self._interrupted.is_set():
                raise Interrupted
            over = self._over.is_set()
            try:
                return self._events.get(timeout=0 if over else min(STEP_S, max(0.0, deadline - time.monotonic())))
            except (queue.Empty, ValueError):
                if over or time.monotonic() >= deadline:
                    return None

    def _read(self, report: int) -> None:
        """Read both streams to their ends: a full pipe would stop the child."""
        lines, told = b"", 0
        output = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(report, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            while report in selector.get_map():
                ready = selector.select(GRANDCHILD_S)
                if not ready and self._process.poll() is not None:
                    break  # a process that it left behind holds the pipe open
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fd)
                    elif key.fd == output:
                        self._keep(data)
                    elif (told := told + len(data)) > MOST_TOLD:
                        self._signal(signal.SIGKILL)
                    else:
                        *whole, lines = (lines + data).split(b"\n")
                        for line in whole:
                            self._take(line)
        os.close(report)
        self.exit_status = self._process.wait()
        self._drain(output)
        self._over.set()

    def _drain(self, output: int) -> None:
        """What was printed last; a grandchild may hold the pipe open, so do not wait for its end."""
        os.set_blocking(output, False)
        try:
            while data := os.read(output, 65536):
                self._keep(data)
        except BlockingIOError:
            pass
        self._process.stdout.close()

    def _keep(self, data: bytes) -> None:
        self._output += data
        if len(self._output) > 4 * KEPT_OUTPUT:
            del self._output[KEPT_OUTPUT:-KEPT_OUTPUT]

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return  # not from our Tell: the learner's code wrote to a descriptor that it does not know
        if "event" in record:
            self._events.put(record)
        elif "result" in record:
            self._result.append(record["result"])
        elif "failed" in record and (self.failure is None or record["failed"] == "NotImplementedError"):
            self.failure = Failure.of(record["failed"], record["message"], record["frames"])


def _environment(home: pathlib.Path) -> dict[str, str]:
    """The child's environment: ours, with a home of its own and the package importable."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    quiet = {"GRPC_VERBOSITY": "NONE", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    same = {"PYTHONHASHSEED": "0"}  # one seed, one verdict, even of code that walks through sets
    return {**os.environ, "TMPDIR": str(home), "PYTHONPATH": path, **quiet, **same}


def _place(file: str) -> str:
    """How a traceback names a file: a notebook's cells have temporary names that say nothing."""
    return "your cell" if "ipykernel_" in file or file.startswith("<") else pathlib.Path(file).name
