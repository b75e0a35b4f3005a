"""Grade on this machine: several grading processes that share a list of tasks."""

from __future__ import annotations

import collections
import dataclasses
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from labsupport.grading.grader import Grader
from labsupport.grading.notebooks import Unreadable, read
from labsupport.grading.submissions import Submission

PER_CORE = 4  # grading processes at most: checks of real systems wait most of the time
EACH_MB = 700  # for a process, its sandbox, a broker and an answer; half of the memory is for them
LOOK_S = 1.0  # how often we look whether the processors have nothing to do
BUSY_PERCENT = 70.0  # then one more process would only slow down the others


@dataclasses.dataclass(frozen=True)
class Task:
    """One notebook: the exercises of it that are still to be graded, and how.

    Args:
        submission: where the notebook is.
        digest: of its bytes.
        lesson: whose exercises they are.
        exercises: their ids.
        seed, timeout_s, cell_s: as in `labsupport.grading.grade.Options`.
    """

    submission: Submission
    digest: str
    lesson: str
    exercises: tuple[str, ...]
    seed: int
    timeout_s: float
    cell_s: float

    def order(self) -> dict[str, Any]:
        """All that a grading process has to know of it, as JSON's values: of the notebook its code."""
        try:
            cells, odd = read(self.submission.data())
        except (OSError, Unreadable) as error:  # it was read a moment ago: somebody is changing it
            cells, odd = [], [str(error)]
        code = [[cell.id, cell.grade_id, sorted(cell.tags), cell.source] for cell in cells]
        how = {"seed": self.seed, "timeout_s": self.timeout_s, "cell_s": self.cell_s}
        return {"lesson": self.lesson, "cells": code, "odd": odd, "exercises": list(self.exercises), **how}


class Pool:
    """Grade tasks in processes of this machine.

    Args:
        machine: what each process is told first (`labsupport.grading.grader.machine`).
        jobs: how many processes; 0 means one for each core, and more as long as they leave the cores idle.
    """

    def __init__(self, machine: dict[str, Any], jobs: int) -> None:
        self._machine, self._jobs = machine, jobs
        self._todo: collections.deque[Task] = collections.deque()
        self._told: queue.Queue[Any] = queue.Queue()
        self._at_work: dict[threading.Thread, Grader] = {}

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
        """What the processes tell, as it comes: one dictionary for each exercise of each task.

        Raises:
            LabError: the processes cannot start.
        """
        self._todo.extend(tasks)
        left = sum(len(task.exercises) for task in tasks)
        for _ in range(min(self._jobs or cores(), len(tasks))):
            self._begin()
        looked = time.monotonic()
        psutil.cpu_percent()  # the next call tells how busy they were since this one
        try:
            while left:
                try:
                    told = self._told.get(timeout=LOOK_S)
                except queue.Empty:
                    pass
                else:
                    if isinstance(told, Exception):
                        raise told
                    left -= 1
                    yield told
                if not self._jobs and time.monotonic() - looked > LOOK_S:
                    looked = time.monotonic()
                    if psutil.cpu_percent() < BUSY_PERCENT and self._todo and len(self._at_work) < at_once():
                        self._begin()
        finally:
            self._todo.clear()
            for grader in self._at_work.values():
                grader.kill()
            for thread in self._at_work:
                thread.join()

    def _begin(self) -> None:
        grader = Grader(self._machine)
        thread = threading.Thread(target=self._serve, args=(grader,), daemon=True)
        self._at_work[thread] = grader
        thread.start()

    def _serve(self, grader: Grader) -> None:
        """In a thread: one task after another until nothing is left to do."""
        try:
            with grader:
                while task := self._next():
                    for told in grader.grade(task.order()):
                        self._told.put((task, told))
        except Exception as error:  # whoever waits for what is told must not wait for ever
            self._told.put(error)

    def _next(self) -> Task | None:
        try:
            return self._todo.popleft()
        except IndexError:  # also when another thread was faster
            return None


def cores() -> int:
    """The processors that we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once() -> int:
    """How many grading processes this machine can bear when they wait most of the time."""
    return max(1, min(PER_CORE * cores(), int(psutil.virtual_memory().total / 2e6 / EACH_MB)))
