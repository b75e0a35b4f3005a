"""Grading processes that share a list of tasks; one that dies is replaced, and what it had begun is tried again."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from labsupport.errors import LabError
from labsupport.grading.sandbox import PACKAGE
from labsupport.history import Outcome, Verdict
from labsupport.services import reaper

TRIES = 2  # of an exercise whose grading process dies
GRACE_S = 120.0  # beyond an exercise's own timeout, for the services that its check starts


@dataclasses.dataclass
class Task:
    """One notebook: the exercises of it that are still to be graded."""

    digest: str
    lesson: str
    path: str
    members: tuple[str, ...]
    exercises: list[str]

    def order(self) -> bytes:
        fields = {name: getattr(self, name) for name in ("lesson", "path", "members", "exercises")}
        return json.dumps(fields).encode() + b"\n"


class Pool:
    """Grade tasks in several processes.

    Args:
        settings: what each worker is told first.
        jobs: how many processes.
    """

    def __init__(self, settings: dict[str, Any], jobs: int) -> None:
        self._settings, self._jobs = settings, jobs
        self._todo: collections.deque[Task] = collections.deque()
        self._told: queue.Queue[Any] = queue.Queue()
        self._tried: collections.Counter[tuple[str, str]] = collections.Counter()
        self._workers: set[subprocess.Popen] = set()
        self._over = threading.Event()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
        """What the workers tell, as it comes: one dictionary for each exercise of each task.

        Raises:
            LabError: the workers cannot start.
        """
        self._todo.extend(tasks)
        left = sum(len(task.exercises) for task in tasks)
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(min(self._jobs, len(tasks)))]
        for thread in threads:
            thread.start()
        try:
            while left:
                told = self._told.get()
                if isinstance(told, Exception):
                    raise told
                left -= 1
                yield told
        finally:
            self._over.set()
            for worker in list(self._workers):
                worker.kill()  # its guard ends the services, and its sandbox ends with it
            for thread in threads:
                thread.join()

    def _serve(self) -> None:
        """In a thread: lead one worker after another until nothing is left to do."""
        starts_without_work = 0
        while self._todo and not self._over.is_set():
            with self._worker() as worker:
                done = self._lead(worker)
            starts_without_work = 0 if done else starts_without_work + 1
            if starts_without_work > TRIES:
                why = "look at what it says above; python3 -m labsupport doctor may tell more"
                self._told.put(LabError("A grading process ended before it graded anything.", do=why))
                return

    def _lead(self, worker: subprocess.Popen) -> int:
        """Hand one task after another to a worker; how many exercises it has graded when it ended."""
        done = 0
        while not self._over.is_set():
            try:
                task = self._todo.popleft()
            except IndexError:
                return 1
            left = list(task.exercises)
            for told in self._answers(worker, dataclasses.replace(task, exercises=left)):
                left.remove(told["exercise"])
                done += 1
                self._told.put((task, told))
            if left:
                self._again(task, left)
                return done
        return 1

    def _answers(self, worker: subprocess.Popen, task: Task) -> Iterator[dict[str, Any]]:
        patience = self._settings["timeout_s"] + GRACE_S
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write(task.order())
            worker.stdin.flush()
        while True:
            watch = threading.Timer(patience, worker.kill)
            watch.start()
            try:
                line = worker.stdout.readline()
            finally:
                watch.cancel()
            told = json.loads(line) if line.endswith(b"\n") else {"done": True}
            if "done" in told:
                return
            yield told

    def _again(self, task: Task, left: list[str]) -> None:
        """The worker died: go on with what is left, without the exercise that has cost two workers their lives."""
        if self._over.is_set():
            return
        first = (task.digest, left[0])
        self._tried[first] += 1
        if self._tried[first] >= TRIES:
            summary = "the grading process died twice with this answer; please look at it yourself"
            verdict = Verdict(left[0], Outcome.UNKNOWN, summary, seed=self._settings["seed"])
            told = {"exercise": left[0], "verdict": verdict.as_json(), "problems": [], "took_s": 0.0}
            self._told.put((task, told))
            left = left[1:]
        if left:
            self._todo.appendleft(dataclasses.replace(task, exercises=left))

    @contextlib.contextmanager
    def _worker(self) -> Iterator[subprocess.Popen]:
        path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        worker = subprocess.Popen(
            [sys.executable, "-m", "labsupport.grading.worker"],
            env=reaper.env({**os.environ, "PYTHONPATH": path}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        reaper.adopt(worker.pid)
        self._workers.add(worker)
        try:
            if self._over.is_set():
                worker.kill()
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(json.dumps(self._settings).encode() + b"\n")
                worker.stdin.flush()
            yield worker
        finally:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.close()
            try:
                worker.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            self._workers.discard(worker)
            worker.stdout.close()
            reaper.release(worker.pid)
