"""Operations and histories: what a well-formed one is, and that it survives JSON."""

from __future__ import annotations

import json
import pickle

import pytest

from labsupport.errors import LearnerError
from labsupport.history import Ending, History, Operation, Recorder


def test_operations_are_kept_in_the_order_of_their_calls():
    late, early = Operation("a", "read", called=5, returned=6), Operation("b", "read", called=1, returned=9)
    assert list(History([late, early])) == [early, late]


@pytest.mark.parametrize(
    ("operations", "what"),
    [
        ([Operation("a", "read", called=5, returned=4)], "returned before it was called"),
        ([Operation("a", "read", called=5)], "no time of return"),
        ([Operation("a", "read", called=5, returned=6, ending=Ending.UNKNOWN)], "nobody knows"),
        (
            [Operation("a", "read", called=1, returned=4), Operation("a", "read", called=3, returned=5)],
            "before its client's last one was answered",
        ),
    ],
)
def test_a_history_that_contradicts_itself_is_refused(operations, what):
    with pytest.raises(LearnerError, match=what):
        History(operations)


def test_a_client_may_go_on_after_an_operation_without_an_answer():
    lost = Operation("a", "write", value=1, called=1, ending=Ending.UNKNOWN)
    assert len(History([lost, Operation("a", "read", called=3, returned=5)])) == 2


def test_a_history_goes_through_json_and_pickle_unchanged():
    recorder = Recorder()
    number = recorder.call("a", "cas", key="x", value=[1, 2], at=1)
    recorder.ok(number, False, at=2)
    recorder.failed(recorder.call("b", "write", value=3, at=2), at=4)
    recorder.call("c", "read", at=3)
    history = recorder.history()
    assert [op.ending.value for op in history] == ["ok", "failed", "unknown"]
    assert History.from_json(json.loads(json.dumps(history.as_json()))) == history
    assert pickle.loads(pickle.dumps(history)) == history


def test_the_text_of_an_operation_tells_a_number_from_a_word():
    assert Operation("a", "write", key="x", value=1, called=0, returned=1).text == "write(x, 1)"
    assert Operation("a", "write", key="x", value="1", called=0, returned=1).text == "write(x, '1')"
    assert Operation("a", "read", key="x", result=None, called=0, returned=1).text == "read(x) -> None"
    assert Operation("a", "cas", value=(1, 2), called=0, ending=Ending.UNKNOWN).text == "cas(1, 2) -> ?"
