"""How many grading processes this machine has at work."""

from __future__ import annotations

import psutil
import pytest
from grading_course import RIGHT

from labsupport.grading import pool
from tests.grading.classes import WAITING, graded, outcomes
from tests.grading.test_grade import hand_in


@pytest.mark.parametrize(("busy_percent", "jobs", "most"), [(0.0, 0, 4), (100.0, 0, 1), (0.0, 2, 2)])
def test_more_processes_start_only_while_the_cores_are_idle(busy_percent, jobs, most, tmp_path, monkeypatch):
    begun = []
    begin = pool.Pool._begin
    monkeypatch.setattr(pool.Pool, "_begin", lambda self: begun.append(self) or begin(self))
    monkeypatch.setattr(pool, "cores", lambda: 1)
    monkeypatch.setattr(pool, "LOOK_S", 0.05)
    monkeypatch.setattr(psutil, "cpu_percent", lambda: busy_percent)
    hand_in(tmp_path / "in", dict.fromkeys(("ann", "bob", "cy", "dan", "eve"), WAITING))
    found = graded([tmp_path / "in"], tmp_path / "out", jobs=jobs)
    assert [outcomes(learner) for learner in found.learners] == [dict.fromkeys(RIGHT, "pass")] * 5
    assert len(begun) == most


def test_memory_bounds_their_number(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 4.2e9}))
    monkeypatch.setattr(pool, "cores", lambda: 16)
    assert pool.at_once() == 3
