"""A class of broken and hostile notebooks, graded once for all tests that look at it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import socket

import pytest

from labsupport.grading import sandbox
from tests.grading.classes import graded, outcomes, sandboxed

import grading_corpus  # isort: skip - the line before says where it is

SECRET = "a-secret-that-only-the-grader-knows"


@dataclasses.dataclass
class Class:
    """The corpus, graded."""

    cases: dict
    results: object
    folder: pathlib.Path
    outside: dict[str, str]
    reached: list[str]
    left: list[int]

    def outcomes(self, name: str) -> dict[str, str]:
        return next((outcomes(learner) for learner in self.results.learners if learner.name == name), {})


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Class:
    if weak := sandbox.weaknesses():
        pytest.skip(f"hostile notebooks are run where they can be shut in only: {weak[0]}")
    folder = tmp_path_factory.mktemp("class")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    outside = {
        "secret": SECRET,
        "file": str(folder / "solution.txt"),
        "folder": str(folder / "results"),
        "results": str(folder / "results" / "grades.csv"),
        "marker": str(folder / "marker"),
        "port": str(listener.getsockname()[1]),
    }
    (folder / "solution.txt").write_text(SECRET)
    (folder / "handed_in").mkdir()
    (folder / "results").mkdir()
    cases = grading_corpus.cases(outside)
    for name, case in cases.items():
        file = f"{name}.ipynb" if name == "is_of_another_course" else f"{name}_99_small.ipynb"
        (folder / "handed_in" / file).write_bytes(case.data)
    before = set(sandboxed())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_SECRET", SECRET)
        results = graded([folder / "handed_in"], folder / "results", cell_s=10.0)
    left = sorted(set(sandboxed()) - before)
    reached = []
    with listener, contextlib.suppress(BlockingIOError):
        reached.append(str(listener.accept()[1]))
    return Class(cases, results, folder, outside, reached, left)
