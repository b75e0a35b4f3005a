"""Where a learner stands: what was checked and passed counts as done, and the first thing left comes next."""

from __future__ import annotations

import argparse
import json
import re

import pytest

from labsupport.exercises import record, standing
from labsupport.view.course_map import CourseMap


@pytest.fixture
def written(monkeypatch, tmp_path):
    monkeypatch.setenv(record.ENVIRONMENT, str(tmp_path / "progress.jsonl"))
    record.add("check", exercise="00.1", outcome="fail")
    record.add("check", exercise="00.1", outcome="pass")
    record.add("check", exercise="00.1", outcome="fail")  # what has once passed stays done
    record.add("check", exercise="01.1", outcome="fail")
    record.add("check", exercise="01.2", outcome="not started")
    record.add("hint", exercise="00.2", rung=2)


def test_done_tried_and_to_do_are_told_apart_and_counted(written):
    found = standing.standing()
    states = {one["id"]: one for lesson in found["lessons"] for one in lesson["exercises"]}
    assert (states["00.1"]["state"], states["00.1"]["checks"]) == ("done", 3)
    assert (states["00.2"]["state"], states["00.2"]["hints"]) == ("to do", 2)
    assert (states["01.1"]["state"], states["01.2"]["state"]) == ("tried", "to do")
    assert (found["done"], found["of"], found["next"]) == (1, len(states), "00.2")
    assert [(lesson["done"], lesson["of"]) for lesson in found["lessons"][:2]] == [(1, 2), (0, 3)]


def test_the_command_prints_one_document_or_the_map(written, capsys, tmp_path):
    assert standing.main(argparse.Namespace(json=True), tmp_path) == 0
    assert json.loads(capsys.readouterr().out) == standing.standing()
    assert standing.main(argparse.Namespace(json=False), tmp_path) == 0
    assert "✓ 00.1 echo: done" in capsys.readouterr().out


def test_the_command_reads_the_record_that_is_beside_the_lessons(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv(record.ENVIRONMENT, "")
    monkeypatch.delenv(record.ENVIRONMENT)
    (tmp_path / record.FILE_NAME).write_text('{"kind": "check", "exercise": "00.2", "outcome": "pass"}\n')
    standing.main(argparse.Namespace(json=True), tmp_path)
    assert json.loads(capsys.readouterr().out)["done"] == 1


def test_the_map_says_every_state_as_a_word_and_leads_to_the_notebooks(written):
    page = CourseMap(standing.standing()).page()
    assert 'href="00_start_here.ipynb"' in page and "1 of 2" in page
    assert re.search(r'aria-label="done">✓</span> 00\.1 echo', page)
    assert re.search(r'class="lab-next"><span role="img" aria-label="to do">○</span> 00\.2', page)


def test_a_course_that_is_done_says_so(written):
    for lesson in standing.standing()["lessons"]:
        for one in lesson["exercises"]:
            record.add("check", exercise=one["id"], outcome="pass")
    found = standing.standing()
    assert found["next"] == "" and found["done"] == found["of"]
    assert "All is done." in CourseMap(found).html()
