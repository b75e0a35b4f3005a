"""A broker that is lent to one hostile worker after another: each gets its mark, and the neighbours keep theirs.

The class is graded by two processes, each with a broker of its own that goes from hand to hand; every second notebook
is a right one, so each of these comes after an attack on the same broker, and beside one on the other.
"""

from __future__ import annotations

import json
import os

import grading_brokers
import psutil
import pytest

from labsupport.grading import grade, sandbox
from labsupport.services import guard, reaper

ATTACKS = grading_brokers.attacks()


def started() -> set[int]:
    """The processes that this process has started, or that those did."""
    mark, found = reaper.env({})[guard.MARKER], set()
    for process in psutil.process_iter(["environ"]):
        if mark in (process.info["environ"] or {}).get(guard.MARKER, "") and process.pid != os.getpid():
            found.add(process.pid)
    return found


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    if weak := sandbox.weaknesses():
        pytest.skip(f"hostile notebooks are run where they can be shut in only: {weak[0]}")
    folder = tmp_path_factory.mktemp("brokers")
    for number, (name, attack) in enumerate(sorted(ATTACKS.items())):
        for learner, source in (
            (f"{number:02}_{name}", attack.answer),
            (f"{number:02}_neighbour", grading_brokers.RIGHT),
        ):
            (folder / "in" / learner).mkdir(parents=True)
            notebook = folder / "in" / learner / grading_brokers.NOTEBOOK.name
            notebook.write_text(json.dumps(grading_brokers.notebook(source, learner)), "utf-8")
    before = started()
    options = grade.Options(seed=7, jobs=2, only=(grading_brokers.EXERCISE,))
    found = grade.grade([str(folder / "in")], folder / "out", options, lambda done, of: None)
    verdicts = {learner.name: learner.papers[0].marked[0].verdict for learner in found.learners}
    return {name[3:] if "neighbour" not in name else name: one for name, one in verdicts.items()}, started() - before


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_gets_the_mark_that_it_deserves(attacked, name):
    verdict = attacked[0][name]
    assert verdict.outcome.value == ATTACKS[name].outcome, verdict.summary
    if ATTACKS[name].how == "seek":
        assert verdict.got == "PermissionError: refused", verdict.summary


def test_neighbours_keep_their_marks(attacked):
    neighbours = {name: one for name, one in attacked[0].items() if name.endswith("neighbour")}
    assert len(neighbours) == len(ATTACKS) >= 15
    assert {name: one.summary for name, one in neighbours.items() if not one} == {}


def test_nothing_is_left_behind(attacked):
    assert attacked[1] == set()
