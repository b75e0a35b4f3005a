"""Run a learner's cells as a notebook does, in the sandbox, and take the exercise's objects out as bytes.

The cells run through testbook: `Client` is testbook's own client, whose cells go to a forked IPython shell
(`labsupport.grading.kernel`) over a pipe instead of to a kernel that is started, greeted and stopped over five
sockets. Starting and stopping a real kernel takes half a second, most of it fixed waits of jupyter_client, and more
than all the rest of grading an exercise; the fork takes some milliseconds. Top-level ``await``, magics, display and the
last line's value work as in a notebook; what needs a browser (widgets, a debugger) does not, and no exercise does.
Everything that comes back is JSON; the objects themselves are bytes that only sandboxed processes ever load.
"""

from __future__ import annotations

import base64
import contextlib
import json
import linecache
import os
import selectors
import signal
import time
from collections.abc import Sequence
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from testbook.client import TestbookNotebookClient
from testbook.exceptions import TestbookError, TestbookRuntimeError

from labsupport.exercises.answer import KEPT_OUTPUT, Answer, Failure
from labsupport.exercises.catalogue import Exercise
from labsupport.grading.assemble import Assembled, Part
from labsupport.grading.sandbox import Cell

LONGEST = 32_000_000  # bytes of one line of the kernel
FROM_KERNEL = "__import__('labsupport.grading.kernel', fromlist=['serve'])"
ODD = (ValueError, LookupError, AttributeError, TypeError)  # what a forged answer leads to


class Stopped(Exception):
    """A cell did not come to its end: its process died, or took too long, or said too much."""


class NotDefined(Exception):
    """The cells ran, and what the exercise takes is not there; says why."""

    def __init__(self, summary: str, failure: Failure | None = None, printed: str = "") -> None:
        super().__init__(summary)
        self.summary, self.failure, self.printed = summary, failure, printed


class Kernel:
    """A forked shell in a cell of the sandbox; use it as a context manager."""

    def __init__(self, cell: Cell, cell_s: float, path: Sequence[str] = ()) -> None:
        self._report, theirs = os.pipe()
        try:
            self._process = cell.start("kernel", f"{cell.scratch}/notebook", {}, theirs)
        finally:
            os.close(theirs)
        self.printed = bytearray()
        self._told = b""
        self._cell_s, self._path = cell_s, list(path)
        os.set_blocking(self._process.stdin.fileno(), False)

    def run(self, name: str, source: str) -> dict[str, Any]:
        """Run one cell.

        Raises:
            Stopped: it did not come to its end.
        """
        if self._path:
            path, self._path = self._path, []
            self.run("path", f"import sys; sys.path[:0] = {path!r}; del sys")
        return self._ask(json.dumps({"cell": name, "source": source}).encode() + b"\n")

    def close(self) -> None:
        """End it and all that it has started in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        os.close(self._report)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, order: bytes) -> dict[str, Any]:
        deadline = time.monotonic() + self._cell_s
        stdin, stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_WRITE)
            while b"\n" not in self._told:
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    if key.fd == stdin:
                        order = order[self._write(stdin, order) :]
                        if not order:
                            selector.unregister(stdin)
                    elif not (data := os.read(key.fd, 1 << 16)):
                        if key.fd == self._report:
                            raise Stopped(self._how_it_ended())
                        selector.unregister(stdout)
                    elif key.fd == stdout:
                        self._keep(data)
                    else:
                        self._told += data
                if time.monotonic() >= deadline:
                    raise Stopped(f"had not come to its end after {self._cell_s:g} seconds")
                if len(self._told) > LONGEST:
                    raise Stopped(f"has a value of more than {LONGEST // 1_000_000} MB")
        line, _, self._told = self._told.partition(b"\n")
        try:
            told = json.loads(line)
            return {"outputs": list(told["outputs"]), "failed": told["failed"] and _failed(told["failed"])}
        except (RecursionError, *ODD):
            raise Stopped("wrote to a pipe that is not its own") from None

    @staticmethod
    def _write(stdin: int, data: bytes) -> int:
        try:
            return os.write(stdin, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)  # the report's end says the rest

    def _keep(self, data: bytes) -> None:
        self.printed += data
        if len(self.printed) > 4 * KEPT_OUTPUT:
            del self.printed[KEPT_OUTPUT:-KEPT_OUTPUT]

    def _how_it_ended(self) -> str:
        self._process.wait()
        status = self._process.returncode
        return f"ended its process {f'by signal {-status}' if status < 0 else f'with status {status}'}"


def _failed(told: dict[str, Any]) -> dict[str, Any]:
    frames = [[str(file), int(line), str(name), str(text)] for file, line, name, text in told["frames"]]
    return {"kind": str(told["kind"]), "message": str(told["message"]), "frames": frames}


class _Transport(NotebookClient):
    """nbclient's part of the work, over a pipe; testbook's client is put upon it."""

    kernel: Kernel
    failed: dict[str, Any] | None = None

    def execute_cell(self, cell: Any, cell_index: int, **_: Any) -> Any:
        told = self.kernel.run(cell.metadata.get("name", f"cell {cell_index}"), cell.source)
        cell.outputs = [nbformat.from_dict(output) for output in told["outputs"]]
        self.failed = told["failed"]
        if self.failed:
            kind, message = self.failed["kind"], self.failed["message"]
            cell.outputs.append(nbformat.v4.new_output("error", ename=kind, evalue=message))
            raise CellExecutionError(message, kind, message)
        return cell


class Client(TestbookNotebookClient, _Transport):
    """testbook's client (`execute_cell`, `inject`, `value`, `ref`) on a forked shell."""

    def __init__(self, notebook: nbformat.NotebookNode, kernel: Kernel) -> None:
        super().__init__(notebook)
        self.kernel = kernel


class Notebook:
    """A learner's notebook that runs in a cell of the sandbox; use it as a context manager.

    Args:
        cell: where.
        cell_s: how long each of its cells may take.
        path: directories of modules that the lesson's cells would have made.
    """

    def __init__(self, cell: Cell, cell_s: float, path: Sequence[str] = ()) -> None:
        self._kernel = Kernel(cell, cell_s, path)
        notebook = nbformat.from_dict({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
        self._client = Client(notebook, self._kernel)

    def take(self, exercise: Exercise, assembled: Assembled) -> Answer:
        """Run the code of one exercise and take its objects.

        Raises:
            NotDefined: they are not there afterwards.
        """
        client = self._client
        try:
            failure = self._run(assembled.parts)
            shown = client.inject(f"{FROM_KERNEL}.packed({list(exercise.takes)!r})", pop=True)
            told = shown.outputs[0].data["application/json"]
            if "data" in told:
                return Answer(exercise.takes, "pickle", base64.b64decode(told["data"]))
            summary = _lacking(exercise, told["lacking"], failure)
        except Stopped as stopped:
            raise NotDefined(f"your cell {stopped}", None, self._printed()) from None
        except (TestbookError, TestbookRuntimeError, RecursionError, *ODD):
            failure = client.failed and Failure.of(**client.failed)
            lines = failure.message.splitlines() if failure else []
            summary = lines[0] if lines else "what the cells have defined cannot be read"
        raise NotDefined(summary, failure, self._printed())

    def _run(self, parts: Sequence[Part]) -> Failure | None:
        """Run cells; what one that raised had defined before counts. The last exception."""
        failure = None
        for part in parts:
            lines = part.source.splitlines(keepends=True)
            linecache.cache[f"<{part.name}>"] = (len(part.source), None, lines, f"<{part.name}>")
            self._client.cells.append(nbformat.from_dict(_cell(part)))
            try:
                self._client.execute_cell(len(self._client.cells) - 1)
            except TestbookRuntimeError:
                failure = Failure.of(**self._client.failed)
        return failure

    def _printed(self) -> str:
        return bytes(self._kernel.printed[:KEPT_OUTPUT]).decode(errors="replace")

    def __enter__(self) -> Notebook:
        return self

    def __exit__(self, *_: object) -> None:
        self._kernel.close()


def _cell(part: Part) -> dict[str, Any]:
    """A code cell; nbformat's own constructor would validate it, which takes longer than to run it."""
    fields = {"cell_type": "code", "execution_count": None, "outputs": []}
    return {**fields, "id": "part", "metadata": {"name": part.name}, "source": part.source}


def _lacking(exercise: Exercise, lacking: dict[str, str], failure: Failure | None) -> str:
    if failure:
        return f"your cell raised {failure.kind} before it defined what the exercise takes"
    names = [
        f"{name} is a value of type {kind}" if kind else f"{name} is not defined" for name, kind in lacking.items()
    ]
    return f"{'; '.join(names)}: {exercise.call} needs the function or class itself"
