"""The worker's side of `labsupport.grading.remote`: ``python3 -m labsupport grade-worker``, on any machine.

Celery's pool has a process for each notebook that is graded at a time; each of those leads a grading process with a
sandbox, as on one machine.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

import celery
from celery.exceptions import Reject, SecurityWarning

from labsupport.grading import pool, remote
from labsupport.grading.grader import Grader, machine, unjudged
from labsupport.grading.worker import lessons
from labsupport.services import supplies

TRIES = 3  # of an exercise whose worker, or whose machine, dies with it
PAUSE_S = 5.0  # before another worker, or this one, tries again what failed for a reason that is not the notebook's
LOOK_S = 1.0


class Seat:
    """What a process of Celery's pool grades with.

    Args:
        told: about this machine, see `labsupport.grading.grader.machine`.
        results: the address of Redis.
    """

    def __init__(self, told: dict[str, Any], results: str) -> None:
        self._parent = os.getpid()
        self._grader = Grader(told)
        self._store = remote.store_at(results)

    def begin(self, **_: Any) -> None:
        """In a new process of the pool: end with the worker, which may be killed."""

        def watch() -> None:
            while os.getppid() == self._parent:
                time.sleep(LOOK_S)
            os._exit(1)  # the grading process ends with this one

        threading.Thread(target=watch, daemon=True).start()

    def end(self, **_: Any) -> None:
        """At the end of a process of the pool."""
        self._grader.kill()

    def grade(self, key: str, order: dict[str, Any]) -> None:
        """Grade what is not graded yet of one notebook."""
        verdicts = remote.Verdicts(self._store, key)
        with verdicts.held():
            done = verdicts.all()
            left = [exercise for exercise in order["exercises"] if exercise not in done]
            if left and verdicts.begun(left[0]) > TRIES:
                why = f"grading began {TRIES} times and did not come to its end; please look at it yourself"
                verdicts.add(unjudged(left.pop(0), order["seed"], why))
            for told in self._grader.grade({**order, "exercises": left}):
                verdicts.add(told)


def serve(broker: str, results: str, jobs: int = 0, modules: Sequence[str] = (), path: Sequence[str] = ()) -> int:
    """Grade until Ctrl-C or SIGTERM; what is in hand then is finished first.

    Args:
        broker, results: as in `labsupport.grading.remote.Remote`.
        jobs: how many notebooks at a time; 0 means as many as this machine can bear.
        modules, path: as in `labsupport.grading.grade.Options`.

    Raises:
        SetupError: what a lesson needs cannot be had.
    """
    graded = lessons(modules)[0]
    for pristine in graded.values():
        supplies.bring(pristine.lesson.number)  # grading processes have no network
    modules = list(graded)
    version, jobs = remote.version(modules), jobs or pool.at_once()
    app = remote.application(broker, version)
    seat = Seat(machine(modules, path), results or remote.results_beside(broker))
    celery.signals.worker_process_init.connect(seat.begin, weak=False)
    celery.signals.worker_process_shutdown.connect(seat.end, weak=False)

    @app.task(name=remote.TASK)
    def grade(key: str, order: dict[str, Any]) -> None:
        try:
            seat.grade(key, order)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            time.sleep(PAUSE_S)
            raise Reject(str(error), requeue=True) from None

    @celery.signals.worker_ready.connect(weak=False)
    def ready(sender: Any, **_: Any) -> None:
        print(f"{sender.hostname} grades {jobs} notebooks at a time; Ctrl-C ends it", flush=True)

    # Its warning is about pickled tasks from strangers. Ours are JSON, and what they bring runs in the sandbox.
    warnings.simplefilter("ignore", SecurityWarning)
    name = f"{version}@{socket.gethostname()}-{os.getpid()}"
    worker = app.Worker(hostname=name, pool="prefork", concurrency=jobs, loglevel="WARNING", quiet=True)
    worker.start()
    return worker.exitcode or 0


def main(arguments: argparse.Namespace) -> int:
    """``grade-worker``."""
    return serve(arguments.broker, arguments.results, arguments.jobs)
