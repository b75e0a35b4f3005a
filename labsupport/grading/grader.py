"""Lead one grading process at a time: it gets orders, and when it dies another one goes on where it was."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from labsupport.errors import LabError
from labsupport.grading import isolation, sandbox
from labsupport.grading.sandbox import PACKAGE
from labsupport.grading.worker import elsewhere
from labsupport.history import Outcome, Verdict
from labsupport.services import reaper

TRIES = 2  # of an exercise whose grading process dies
GRACE_S = 120.0  # beyond an exercise's own timeout, for the services that its check starts


def machine(modules: Sequence[str], path: Sequence[str] = (), limits: isolation.Limits | None = None) -> dict[str, Any]:
    """What a grading process on this machine is told first (see `labsupport.grading.worker`)."""
    weak = sandbox.weaknesses()
    isolated = not weak
    if isolated and elsewhere():
        weak = [f"{', '.join(elsewhere())} names a server elsewhere, so submitted code can reach the network."]
    limits = limits or isolation.Limits()
    told = {"modules": list(modules), "path": list(path), "limits": dataclasses.asdict(limits)}
    return {**told, "isolated": isolated, "weak": weak}


class Grader:
    """A grading process and its successors; use it as a context manager.

    Args:
        machine: what `machine` gives.
    """

    def __init__(self, machine: dict[str, Any]) -> None:
        self._machine = machine
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._closed = False

    def grade(self, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """One answer for each exercise of an order, as they come; fewer only when `kill` was called.

        Raises:
            LabError: no grading process can be started.
        """
        left = list(order["exercises"])
        deaths: collections.Counter[str] = collections.Counter()
        while left:
            self.start()
            if self._closed:
                return
            for told in self._answers({**order, "exercises": list(left)}):
                left.remove(told["exercise"])
                yield told
            if left and not self._closed:
                self._end()
                deaths[left[0]] += 1
                if deaths[left[0]] >= TRIES:
                    why = "the grading process died twice with this answer; please look at it yourself"
                    yield unjudged(left.pop(0), order["seed"], why)

    def start(self) -> None:
        """Start a process, if none runs.

        Raises:
            LabError: it ends before it is ready.
        """
        if self._process is None:
            with self._lock:
                if self._closed:
                    return
                self._process = self._launch()
            if "ready" not in self._after(json.dumps(self._machine), GRACE_S) and not self._closed:
                self._end()
                raise LabError(
                    "A grading process ended before it graded anything.",
                    do="look at what it says above; python3 -m labsupport doctor may tell more",
                )

    def kill(self) -> None:
        """From any thread: end the process at once, and `grade` with it."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()  # its guard ends the services, and its sandbox ends with it

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _answers(self, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
        patience_s = order["timeout_s"] + GRACE_S
        told = self._after(json.dumps(order), patience_s)
        while told and "done" not in told:
            yield told
            told = self._after("", patience_s)

    def _after(self, line: str, patience_s: float) -> dict[str, Any]:
        """What the process says next, after it was told this line; nothing if it ends or stays silent."""
        watch = threading.Timer(patience_s, self._process.kill)
        watch.start()
        try:
            if line:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.write(line.encode() + b"\n")
                    self._process.stdin.flush()
            answer = self._process.stdout.readline()
        finally:
            watch.cancel()
        return json.loads(answer) if answer.endswith(b"\n") else {}

    def _launch(self) -> subprocess.Popen:
        path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-m", "labsupport.grading.worker"],
            env=reaper.env({**os.environ, "PYTHONPATH": path}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        reaper.adopt(process.pid)
        return process

    def _end(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        reaper.release(self._process.pid)
        with self._lock:
            self._process = None


def unjudged(exercise: str, seed: int, why: str) -> dict[str, Any]:
    """The answer for an exercise that no grading process could judge."""
    verdict = Verdict(exercise, Outcome.UNKNOWN, why, seed=seed)
    return {"exercise": exercise, "verdict": verdict.as_json(), "problems": [], "weak": [], "took_s": 0.0}
