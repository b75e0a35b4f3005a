"""What the lessons' cells call: bad input gets a clear error, and the learner's record is kept beside the notebooks."""

from __future__ import annotations

import json

import pytest

from labsupport.errors import LearnerError
from labsupport.exercises import catalogue, notebook, record
from labsupport.messages import message
from labsupport.node import Node


@pytest.fixture(autouse=True)
def fresh_record(monkeypatch, tmp_path):
    monkeypatch.setenv(record.ENVIRONMENT, str(tmp_path / "progress.jsonl"))
    monkeypatch.setattr(notebook, "_predictions", {})
    return tmp_path / "progress.jsonl"


@message
class Echo:
    number: int
    payload: object
    trace_id: str = ""


class UnfinishedEcho(Node):
    def on_echo(self, message, sender, ctx):
        raise NotImplementedError("yours")


def test_an_unknown_exercise_names_those_that_exist():
    with pytest.raises(LearnerError, match=r"there is no exercise '00.9'(.|\n)*00\.1"):
        notebook.check("00.9", print)


def test_too_many_objects_show_the_right_call():
    with pytest.raises(LearnerError, match=r'write check\("00.1", Echoer\)'):
        notebook.check("00.1", print, print)


def test_a_called_function_is_recognised():
    with pytest.raises(LearnerError, match="Echoer is NoneType None"):
        notebook.check("00.1", None)


def test_a_check_is_recorded(fresh_record):
    card = notebook.check("00.1", UnfinishedEcho)
    assert card.verdict.outcome == "not started"
    (entry,) = [json.loads(line) for line in fresh_record.read_text().splitlines()]
    assert (entry["kind"], entry["exercise"], entry["outcome"]) == ("check", "00.1", "not started")


def test_under_nbgrader_a_wrong_answer_raises_what_its_card_says(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(LearnerError, match=r"NOT STARTED 00\.1"):
        notebook.check("00.1", UnfinishedEcho)


def test_hints_come_one_rung_at_a_time_and_the_last_one_stays():
    assert [notebook.hint("00.1").rung for _ in range(4)] == [1, 2, 3, 3]
    assert notebook.hint("00.1", 1).rung == 1
    with pytest.raises(LearnerError, match="1 to 3"):
        notebook.hint("00.1", 4)


def test_a_prediction_never_blocks_and_is_compared():
    guess = notebook.predict("00-x", "How many?", ["one", "two"])
    guess._remember("one")
    assert guess.saw(2, because="both count").rows == [("one", "2", "both count")]
    assert notebook.what_you_saw().rows == [("How many?", "one", "2", "both count")]
    assert record.entries("prediction")[0]["guess"] == "one"


def test_an_unanswered_prediction_says_so():
    notebook.predict("00-x", "How many?", ["one", "two"])
    assert notebook.what_you_saw().rows == [("How many?", "(nothing)", "(not run yet)", "")]


def test_progress_counts_what_passed_and_survives_a_damaged_record(fresh_record):
    fresh_record.write_text('{"kind": "check", "exercise": "00.1", "outcome": "pass"}\nnot json\n{"kind": 3}\n[]\n')
    shown = notebook.progress()
    assert shown.headline.startswith("Your progress: 1 of ")
    assert "✓ 00.1 echo: done" in shown.text() and "○ 00.2 ping until answered: to do   <- next" in shown.text()


def test_a_record_that_cannot_be_written_stops_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv(record.ENVIRONMENT, str(tmp_path / "missing" / "progress.jsonl"))
    assert notebook.hint("00.1").rung == 1


def test_every_lesson_is_in_the_catalogue_once_and_in_order():
    numbers = [lesson.number for lesson in catalogue.lessons()]
    assert numbers == sorted(set(numbers)) == catalogue.lesson_numbers()
