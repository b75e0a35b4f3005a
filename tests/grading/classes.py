"""Grade the corpus's small course, and look at what is left of it."""

from __future__ import annotations

import pathlib
import sys

import psutil

from labsupport.grading import grade
from labsupport.services import guard, reaper

CORPUS = pathlib.Path(__file__).parent / "corpus"
sys.path.insert(0, str(CORPUS))  # the workers import its modules by their plain names, and so do the tests

from grading_course import RIGHT  # noqa: E402

WAITING = RIGHT | {"99.4": RIGHT["99.4"].replace("max(replies)", "(await asyncio.sleep(0.5)) or max(replies)")}


def options(**more) -> grade.Options:
    return grade.Options(**{"modules": ("grading_course",), "path": (str(CORPUS),), "seed": 7, "jobs": 2, **more})


def graded(places, out, **more):
    return grade.grade([str(place) for place in places], out, options(**more), lambda done, of: None)


def outcomes(learner) -> dict[str, str]:
    return {one.exercise.id: one.verdict.outcome.value for paper in learner.papers for one in paper.marked}


def sandboxed() -> list[int]:
    """The processes of the sandboxes that this process has started, or that processes did which it started."""
    mark = reaper.env({})[guard.MARKER]
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        ours = mark in (process.info["environ"] or {}).get(guard.MARKER, "")
        if ours and "labsupport.grading.zygote" in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found
