"""One grading process: ``python -m labsupport.grading.worker``. It takes orders and gives verdicts, one JSON line each.

The first line on standard input is what the machine is like: the names of the `modules` that have a `LESSON` (and, if
its notebook is not in lessons/, a `FOLDER`), the `path` to find them on, whether the sandbox is `isolated` and what is
`weak` about it, and its `limits`; the answer is ``{"ready": true}``. Each further line is an order, see
`labsupport.grading.pool.Task.order`. For each of its exercises goes back ``{"exercise": ID, "verdict": {…}, "problems":
[…], "weak": […], "took_s": …}``, and ``{"done": true}`` after an order. What the process starts, services and sandbox,
ends with it; it ends when its standard input is closed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import types
from collections.abc import Iterator, Sequence
from typing import Any

from labsupport.errors import LabBug
from labsupport.exercises import catalogue
from labsupport.grading import isolation, release
from labsupport.grading.assemble import Pristine
from labsupport.grading.judging import Sitting
from labsupport.grading.lending import Servers
from labsupport.grading.notebooks import Cell
from labsupport.grading.sandbox import Sandbox


class Worker:
    """Grades what it is given, in one sandbox.

    Args:
        settings: the first line.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.servers = settings, Servers()
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

    def grade(self, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The verdicts of one order, as they come."""
        pristine, odd = self.pristine[order["lesson"]], order["odd"]
        cells = [Cell(id_, grade_id, frozenset(tags), source) for id_, grade_id, tags, source in order["cells"]]
        exercises = {one.id: one for one in pristine.lesson.exercises}
        asked = [one for one in pristine.assemble(cells) if one.exercise in order["exercises"]]
        work = [(exercises[one.exercise], one) for one in asked]
        how = {name: order[name] for name in ("seed", "timeout_s", "cell_s")}
        started = time.monotonic()
        path, lend = self.made[order["lesson"]], self.servers.lend
        with Sitting(self.sandbox, work, path=path, lend=lend, **how) as sitting:
            for exercise, one in work:
                verdict = sitting.judge(exercise, one)
                took_s, started = time.monotonic() - started, time.monotonic()
                problems, odd = [*odd, *one.problems], []
                told = {"exercise": exercise.id, "verdict": verdict.as_json(), "problems": problems}
                yield {**told, "weak": self.settings["weak"], "took_s": round(took_s, 3)}


def pristine_of(module: types.ModuleType) -> Pristine:
    """The lesson that a module holds, as learners get it."""
    return Pristine.of(module.LESSON, getattr(module, "FOLDER", release.LESSONS))


def lessons(names: Sequence[str] = ()) -> tuple[dict[str, Pristine], list[str]]:
    """The lessons by the modules that hold them (none means the course), and a line for each that cannot be graded."""
    found, problems = {}, []
    for name in names or [f"labsupport.exercises.lesson_{number}" for number in catalogue.lesson_numbers()]:
        try:
            found[name] = pristine_of(importlib.import_module(name))
        except (ImportError, FileNotFoundError, LabBug) as error:
            problems.append(f"{name.rpartition('.')[2]} cannot be graded: {error}".splitlines()[0])
    return found, problems


def elsewhere() -> list[str]:
    """The environment's addresses of servers that are not started here, such as LAB_NATS_URL."""
    return sorted(name for name in os.environ if name.startswith("LAB_") and name.endswith("_URL"))


def main() -> int:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a check or a library prints is no verdict
    worker = Worker(json.loads(sys.stdin.readline()))

    def tell(told: dict[str, Any]) -> None:
        print(json.dumps(told), file=channel, flush=True)

    with worker.sandbox, worker.servers:
        tell({"ready": True})
        for line in sys.stdin:
            for told in worker.grade(json.loads(line)):
                tell(told)
            tell({"done": True})
    return 0


if __name__ == "__main__":
    sys.exit(main())
