"""Messages: what travels, what does not, and that the fast copy is the copy that JSON text would give."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labsupport import messages
from labsupport.errors import LearnerError
from labsupport.messages import body, from_body, message


@message
class Sample:
    number: int
    anything: object = None


@message
class Cas:
    key: str
    from_: int
    to: int


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
json_like = st.recursive(
    numbers | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_like)
def test_the_copy_is_the_one_that_json_text_gives(value):
    through_text = json.loads(json.dumps(value))
    copy = messages.plain(value)
    assert repr(copy) == repr(through_text)
    assert repr(messages.copied(copy)) == repr(through_text)


@given(json_like)
def test_a_message_survives_its_own_wire_form(value):
    sent = Sample(3, value)
    received = from_body(json.loads(messages.text(body(sent))), "n2")
    assert body(received) == body(sent)
    assert type(sent)._unpack(sent._pack(), "n2", None) == received


def test_what_the_receiver_changes_stays_with_the_receiver():
    inner = [{"term": 1}]
    sent = Sample(1, inner)
    packed = sent._pack()
    Sample._unpack(packed, "n1", None).anything[0]["term"] = 99
    assert inner == [{"term": 1}] == Sample._unpack(packed, "n1", None).anything


def test_a_word_of_python_loses_its_underscore_on_the_wire():
    assert body(Cas("x", 1, 2), 7, 3) == {
        "type": "cas", "msg_id": 7, "in_reply_to": 3, "key": "x", "from": 1, "to": 2,
    }  # fmt: skip
    assert from_body({"type": "cas", "key": "x", "from": 1, "to": 2, "extra": 0}) == Cas("x", 1, 2)


@pytest.mark.parametrize(
    "name, wire", [("Ping", "ping"), ("AppendEntries", "append_entries"), ("RPCReply", "rpc_reply")]
)
def test_the_wire_type_is_the_name_in_snake_case(name, wire):
    assert messages.snake(name) == wire


@pytest.mark.parametrize(
    "value, said",
    [
        ({1, 2}, "sorted"),
        (b"x", "decode"),
        (math.nan, "NaN"),
        ({1: 2}, "JSON keys are text"),
        (Sample(1), "another message"),
        (len, "JSON"),
        ([[{"a": {3}}]], "sorted"),
    ],
)
def test_what_json_cannot_say_is_refused_with_the_way_out(value, said):
    with pytest.raises(LearnerError, match=said):
        body(Sample(1, value))


def test_a_value_that_contains_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(LearnerError, match="contains itself"):
        body(Sample(1, endless))


def test_a_declared_type_is_held():
    with pytest.raises(LearnerError, match=r"Sample.number is declared as int and holds 'three'"):
        body(Sample("three"))


def test_a_missing_field_and_an_unknown_type_are_told():
    with pytest.raises(LearnerError, match="without the field 'number'"):
        from_body({"type": "sample"})
    with pytest.raises(LearnerError, match="no @message class is called so"):
        from_body({"type": "never_heard_of"})


def test_the_names_of_the_protocol_are_reserved():
    with pytest.raises(LearnerError, match="msg_id"):

        @message
        class Bad:
            msg_id: int


def test_a_slip_in_a_field_name_is_an_error():
    with pytest.raises(AttributeError):
        Sample(1).nubmer = 3


def test_a_class_can_come_from_code_that_has_no_module():
    space = {"__name__": "nowhere_to_be_found"}
    program = "from __future__ import annotations\nfrom labsupport.messages import message\n"
    exec(program + "@message\nclass Homeless:\n    number: int\n", space)
    assert body(space["Homeless"](1)) == {"type": "homeless", "number": 1}
