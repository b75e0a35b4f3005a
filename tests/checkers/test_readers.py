"""Histories of other tools: what they write is read for what it says."""

from __future__ import annotations

import pytest

from labsupport.checkers import edn
from labsupport.checkers.linearizability import linearizable
from labsupport.checkers.models import AppendStore
from labsupport.checkers.readers import from_jepsen, from_porcupine
from labsupport.checkers.transactions import transactions
from labsupport.errors import LearnerError
from labsupport.history import Ending


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1 -2 3.5 1e3 4N nil true false]", [1, -2, 3.5, 1000.0, 4, None, True, False]),
        ('"a\\n\\"b\\" \\u00e9"', 'a\n"b" é'),
        (":append jepsen.x/y", "append"),
        ("{:a {:b [1, 2]} [1 2] 3}", {"a": {"b": [1, 2]}, (1, 2): 3}),
        ("#{1} ; comment\n", [1]),
        ("#_ [9 9] 7", 7),
        ('[1 #_ 2 #inst "2024"]', [1, "2024"]),
        ("(1 \\a \\newline)", [1, "a", "\n"]),
        ("#jepsen.history.Op{:index 0, :f :read}", {"index": 0, "f": "read"}),
    ],
)
def test_edn_values(text, value):
    assert edn.read_all(text)[0] == value


@pytest.mark.parametrize("text", ["[1 2", "{:a}", "1]", '"open', "[1 }"])
def test_what_is_not_edn_is_refused_with_its_line(text):
    with pytest.raises(LearnerError, match="Line 2"):
        edn.read_all("nil\n" + text)


def test_a_deep_value_does_not_exhaust_the_stack():
    assert edn.read_all("[" * 5000 + "]" * 5000)


def test_jepsens_endings_and_keys():
    history = from_jepsen(
        """[{:process 0, :type :invoke, :f :cas, :value [4 [1 2]], :time 3, :index 0}
            {:process :nemesis, :type :info, :f :start, :value nil}
            {:process 1, :type :invoke, :f :write, :value [4 3]}
            {:process 0, :type :fail, :f :cas, :value [4 [1 2]], :error [:precondition-failed "no"]}
            {:process 1, :type :info, :f :write, :value [4 3], :error :net-timeout}
            {:process 2, :type :invoke, :f :read, :value [4 nil]}
            {:process 2, :type :ok, :f :read, :value [4 3]}]""",
        independent=True,
    )
    assert [(op.kind, op.key, op.value, op.result, op.ending) for op in history] == [
        ("cas", 4, [1, 2], None, Ending.FAILED),
        ("write", 4, 3, None, Ending.UNKNOWN),
        ("read", 4, None, 3, Ending.OK),
    ]
    assert linearizable(history)


def test_a_failed_cas_is_an_observation_only_if_said_so():
    text = """{:process 0, :type :invoke, :f :write, :value 1} {:process 0, :type :ok, :f :write, :value 1}
              {:process 0, :type :invoke, :f :cas, :value [1 2]} {:process 0, :type :fail, :f :cas, :value [1 2]}"""
    assert linearizable(from_jepsen(text))
    assert not linearizable(from_jepsen(text, failed_cas_looks=True))
    assert not linearizable(from_porcupine(text))


def test_jepsens_transactions():
    history = from_jepsen(
        """{:process 0, :type :invoke, :f :txn, :value [[:append 1 5] [:r 2 nil]]}
           {:process 0, :type :ok, :f :txn, :value [[:append 1 5] [:r 2 []]]}
           {:process 1, :type :invoke, :f :txn, :value [[:r 1 nil]]}
           {:process 1, :type :ok, :f :txn, :value [[:r 1 nil]]}
           {:process 1, :type :invoke, :f :txn, :value [[:r 1 nil]]}
           {:process 1, :type :ok, :f :txn, :value [[:r 1 [5]]]}"""
    )
    assert transactions(history).names == ("G-single-realtime",)
    assert transactions(history, model="serializable")


def test_porcupines_log_of_a_register():
    lines = """INFO  jepsen.util - 0\t:invoke\t:write\t1
INFO  jepsen.core - something else
INFO  jepsen.util - 0\t:ok\t:write\t1
INFO  jepsen.util - 1\t:invoke\t:write\t2
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:ok\t:read\t{}"""
    for value, fine in ((1, True), (2, True), ("nil", False)):
        assert bool(linearizable(from_porcupine(lines.format(value)))) is fine


def test_porcupines_log_of_a_store_of_texts():
    text = """{:process 0, :type :invoke, :f :append, :key "0", :value "x 0 0 y"}
{:process 1, :type :invoke, :f :get, :key "0", :value nil}
{:process 0, :type :ok, :f :append, :key "0", :value "x 0 0 y"}
{:process 1, :type :ok, :f :get, :key "0", :value "%s"}"""
    for seen, fine in (("x 0 0 y", True), ("", True), ("x", False)):
        assert bool(linearizable(from_porcupine(text % seen), AppendStore())) is fine


def test_what_is_no_history_is_refused():
    with pytest.raises(LearnerError, match="Event 0"):
        from_jepsen("[1 2 3]")
    with pytest.raises(LearnerError, match="was not made"):
        from_jepsen("{:process 0, :type :ok, :f :read, :value 1}")
