"""Where a learner stands in the course, from the record beside the notebooks; also `python3 -m labsupport progress`."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from labsupport.exercises import catalogue, record
from labsupport.view.course_map import CourseMap


def standing() -> dict[str, Any]:
    """What is done, exercise by exercise, and what comes next, as a JSON object.

    ``{"done", "of", "next", "lessons": [{"lesson", "title", "notebook", "done", "of", "exercises": [{"id", "title",
    "state", "checks", "hints"}]}]}``; a state is "done", "tried" or "to do", and "next" is an exercise's id, or "".
    """
    checks = [entry for entry in record.entries("check") if entry.get("outcome") != "not started"]
    passed = {entry.get("exercise") for entry in checks if entry.get("outcome") == "pass"}
    tries = Counter(entry.get("exercise") for entry in checks)
    hints = {entry.get("exercise"): entry.get("rung", 0) for entry in record.entries("hint")}
    lessons = []
    for lesson in catalogue.lessons():
        exercises = [
            {
                "id": one.id,
                "title": one.title,
                "state": "done" if one.id in passed else "tried" if tries[one.id] else "to do",
                "checks": tries[one.id],
                "hints": hints.get(one.id, 0),
            }
            for one in lesson.exercises
        ]
        done = sum(one["state"] == "done" for one in exercises)
        told = {"lesson": lesson.number, "title": lesson.title, "notebook": f"{lesson.notebook}.ipynb"}
        lessons.append({**told, "done": done, "of": len(exercises), "exercises": exercises})
    left = [one["id"] for lesson in lessons for one in lesson["exercises"] if one["state"] != "done"]
    return {
        "done": sum(lesson["done"] for lesson in lessons),
        "of": sum(lesson["of"] for lesson in lessons),
        "next": left[0] if left else "",
        "lessons": lessons,
    }


def main(arguments: Any, lessons: os.PathLike) -> int:
    """The command: the map in words, or with ``arguments.json`` one JSON document."""
    os.environ.setdefault(record.ENVIRONMENT, os.path.join(lessons, record.FILE_NAME))
    found = standing()
    print(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else CourseMap(found).text())
    return 0
