"""One grading process: ``python -m labsupport.grading.worker``. It takes tasks and gives verdicts, one JSON line each.

The first line on standard input is the settings: the names of the `modules` that have a `LESSON` (and, if its notebook
is not in lessons/, a `FOLDER`), the `path` to find them on, `isolated`, `seed`, times and `limits`. Each further
line is a task, ``{"lesson": NUMBER, "path": …, "members": […], "exercises": [ID, …]}``. For each exercise goes back
``{"exercise": ID, "verdict": {…}, "problems": […], "took_s": …}``, and ``{"done": true}`` after a task. What the worker
starts, services and sandbox, ends with it; it ends when its standard input is closed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

from labsupport.grading import isolation, release
from labsupport.grading.assemble import Assembled, Pristine
from labsupport.grading.judging import Sitting
from labsupport.grading.notebooks import Unreadable, read
from labsupport.grading.sandbox import Sandbox
from labsupport.grading.submissions import Submission


class Worker:
    """Grades what it is given, in one sandbox.

    Args:
        settings: the first line.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        if settings["isolated"] and not elsewhere():
            isolation.own_network()
        sys.path[:0] = settings["path"]
        modules = [importlib.import_module(name) for name in settings["modules"]]
        self.pristine = {module.LESSON.number: pristine_of(module) for module in modules}
        self.made = {number: list(one.lesson.modules()) for number, one in self.pristine.items()}
        shown = [path for paths in self.made.values() for path in paths]
        for path in shown:
            os.chmod(path, 0o755)  # generated from what every learner has
        self.sandbox = Sandbox(
            settings["modules"],
            isolated=settings["isolated"],
            limits=isolation.Limits(**settings["limits"]),
            shown=[*shown, *settings["path"]],
            path=settings["path"],
        )

    def grade(self, task: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The verdicts of one task, as they come."""
        pristine = self.pristine[task["lesson"]]
        submission = Submission("", "", False, (0, 0.0), task["path"], tuple(task["members"]))
        try:
            cells, odd = read(submission.data())
            assembled = {one.exercise: one for one in pristine.assemble(cells)}
        except (OSError, Unreadable) as error:  # it was read a moment ago: somebody is changing it
            odd, assembled = [str(error)], {}
        exercises = [one for one in pristine.lesson.exercises if one.id in task["exercises"]]
        work = [(one, assembled.get(one.id, Assembled(one.id, missing=odd[-1] if odd else ""))) for one in exercises]
        settings = {name: self.settings[name] for name in ("seed", "timeout_s", "cell_s")}
        started = time.monotonic()
        with Sitting(self.sandbox, work, path=self.made[task["lesson"]], **settings) as sitting:
            for exercise, one in work:
                verdict = sitting.judge(exercise, one)
                took_s, started = time.monotonic() - started, time.monotonic()
                problems, odd = [*odd, *one.problems], []
                told = {"exercise": exercise.id, "verdict": verdict.as_json(), "problems": problems}
                yield {**told, "took_s": round(took_s, 3)}


def pristine_of(module: types.ModuleType) -> Pristine:
    """The lesson that a module holds, as learners get it."""
    return Pristine.of(module.LESSON, getattr(module, "FOLDER", release.LESSONS))


def elsewhere() -> list[str]:
    """The environment's addresses of servers that are not started here, such as LAB_NATS_URL."""
    return sorted(name for name in os.environ if name.startswith("LAB_") and name.endswith("_URL"))


def main() -> int:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a check or a library prints is no verdict
    worker = Worker(json.loads(sys.stdin.readline()))
    with worker.sandbox:
        for line in sys.stdin:
            for told in worker.grade(json.loads(line)):
                print(json.dumps(told), file=channel, flush=True)
            print(json.dumps({"done": True}), file=channel, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
