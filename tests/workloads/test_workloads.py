"""Generators and clients without any process: what is asked, what an answer means, and that a seed fixes it all."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections import Counter

import pytest

from labsupport import workloads
from labsupport.errors import LearnerError
from labsupport.history import Ending, History, Operation
from labsupport.messages import RequestFailed
from labsupport.workloads import WORKLOADS, Attempt, Seat, Setting, Step, workload
from labsupport.workloads.lin_kv import CLIENTS_PER_KEY
from labsupport.workloads.replies import INTEGER, MESSAGES, OFFSETS
from labsupport.workloads.strokes import plan
from labsupport.workloads.topologies import TOPOLOGIES, topology
from labsupport.workloads.workload import CRASH, MALFORMED

NODES = ("n1", "n2", "n3", "n4", "n5")
MODULES = [part.name for part in pkgutil.iter_modules(workloads.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    assert doctest.testmod(importlib.import_module(f"labsupport.workloads.{name}")).failed == 0


def steps(name: str, count: int = 400, **setting) -> list[Step]:
    chosen = workload(name, Setting(nodes=NODES, **setting))
    seats = [Seat(number, NODES[number % 5]) for number in range(chosen.setting.concurrency)]
    return [chosen.step(seats[number % len(seats)]) for number in range(count)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_seed_asks_the_same_and_another_does_not(name):
    assert steps(name, seed=3) == steps(name, seed=3)
    assert name == "unique-ids" or steps(name, seed=3) != steps(name, seed=4)


def test_an_unknown_workload_says_which_there_are():
    with pytest.raises(LearnerError, match="choose one of echo, unique-ids, broadcast"):
        workload("lin-mutex", Setting())


# ------------------------------------------------------------------------------------------------ what is drawn


@pytest.mark.parametrize(("name", "kind"), [("broadcast", "broadcast"), ("g-set", "add")])
def test_every_element_is_added_once_and_half_of_the_steps_read(name, kind):
    drawn = steps(name)
    added = [step.value for step in drawn if step.kind == kind]
    assert added == list(range(len(added))) and 140 < len(added) < 260
    assert {step.kind for step in drawn} == {kind, "read"}


@pytest.mark.parametrize(("name", "lowest"), [("pn-counter", -5), ("g-counter", 0)])
def test_counters_are_given_numbers_of_their_range(name, lowest):
    values = {step.value for step in steps(name) if step.kind == "add"}
    assert values == set(range(lowest, 5))


def test_lin_kv_keeps_readers_and_writers_apart_and_changes_keys():
    drawn = steps("lin-kv", 2000, concurrency=10)
    readers = [step for number, step in enumerate(drawn) if number % 10 < 5]
    writers = [step for number, step in enumerate(drawn) if number % 10 >= 5]
    assert {step.kind for step in readers} == {"read"} and {step.kind for step in writers} == {"write", "cas"}
    keys = Counter(step.key for step in drawn)
    assert len(keys) >= 10 and max(keys.values()) <= 200


def test_few_clients_touch_one_key_of_lin_kv():
    chosen = workload("lin-kv", Setting(nodes=NODES, concurrency=10))
    clients: dict[int, set[str]] = {}
    for number in range(300):
        key = chosen.step(Seat(number % 10, "n1", f"c{number}")).key
        clients.setdefault(key, set()).add(f"c{number}")
    assert max(map(len, clients.values())) == CLIENTS_PER_KEY


@pytest.mark.parametrize(("name", "writes"), [("txn-list-append", "append"), ("txn-rw-register", "w")])
def test_transactions_write_unique_values_and_wear_keys_out(name, writes):
    every = [tuple(part) for step in steps(name, max_writes_per_key=4, max_txn_length=3) for part in step.value]
    written = [part for part in every if part[0] == writes]
    assert len(set(written)) == len(written) > 100
    assert max(Counter(key for _, key, _ in written).values()) == 4
    assert {len(step.value) for step in steps(name, max_txn_length=3)} == {1, 2, 3}


# ------------------------------------------------------------------------------------------------ what answers mean


def attempt(name: str, step: Step, seat: Seat | None = None) -> Attempt:
    return Attempt(workload(name, Setting(nodes=NODES)), step, seat or Seat(0, "n1"))


@pytest.mark.parametrize(
    ("name", "step", "error", "ending"),
    [
        ("lin-kv", Step("read", 1), TimeoutError(), Ending.FAILED),
        ("lin-kv", Step("write", 1, 2), TimeoutError(), Ending.UNKNOWN),
        ("lin-kv", Step("write", 1, 2), RequestFailed(11), Ending.FAILED),
        ("lin-kv", Step("cas", 1, [2, 3]), RequestFailed(22), Ending.FAILED),
        ("lin-kv", Step("write", 1, 2), RequestFailed(13), Ending.UNKNOWN),
        ("lin-kv", Step("read", 1), RequestFailed(1000), Ending.FAILED),
        ("txn-list-append", Step("txn", value=[["r", 1, None]]), TimeoutError(), Ending.UNKNOWN),
        ("txn-list-append", Step("txn", value=[["r", 1, None]]), RequestFailed(30), Ending.FAILED),
        ("echo", Step("echo", value="a"), TimeoutError(), Ending.UNKNOWN),
        ("broadcast", Step("broadcast", value=1), RequestFailed(0), Ending.UNKNOWN),
        ("g-set", Step("add", value=1), RequestFailed(11), Ending.UNKNOWN),
        ("g-set", Step("read"), TimeoutError(), Ending.UNKNOWN),
        ("kafka", Step("assign", value=["1"]), TimeoutError(), Ending.FAILED),
        ("kafka", Step("send", "1", 1), TimeoutError(), Ending.UNKNOWN),
    ],
)
def test_an_error_is_a_failure_only_if_nothing_can_have_happened_or_nothing_could(name, step, error, ending):
    tried = attempt(name, step)
    tried.failed(error)
    assert tried.request is None and tried.ending is ending and tried.error


@pytest.mark.parametrize(
    ("name", "step", "reply", "why"),
    [
        ("echo", Step("echo", value=1), {"type": "echo_ok"}, 'it lacks the field "echo"'),
        ("echo", Step("echo", value=1), {"type": "echo", "echo": 1}, 'its type is "echo"'),
        ("broadcast", Step("read"), {"type": "read_ok", "messages": {"a": 1}}, 'messages is {"a": 1}'),
        ("broadcast", Step("broadcast", value=1), {"type": "broadcast_ok", "message": 1}, "is not known"),
        ("pn-counter", Step("read"), {"type": "read_ok", "value": 1.5}, "value is 1.5"),
        ("pn-counter", Step("read"), {"type": "read_ok", "value": True}, "value is true"),
        ("kafka", Step("send", "1", 1), {"type": "send_ok", "offset": "0"}, 'offset is "0"'),
        ("lin-kv", Step("write", 1, 2), {"type": "write_ok", "msg_id": "x"}, 'msg_id is "x"'),
        ("txn-list-append", Step("txn", value=[["r", 1, None]]), {"type": "txn_ok", "txn": []}, "answered None"),
        ("txn-list-append", Step("txn", value=[["r", 1, None]]), {"type": "txn_ok", "txn": [["r", 1, 5]]}, "r"),
    ],
)
def test_a_reply_of_another_form_is_malformed(name, step, reply, why):
    tried = attempt(name, step)
    tried.answered({**reply, "in_reply_to": 1})
    assert tried.error == MALFORMED and why in tried.why and tried.ending is not Ending.OK


def test_a_reply_may_carry_the_reserved_keys():
    tried = attempt("lin-kv", Step("write", 1, 2))
    tried.answered({"type": "write_ok", "in_reply_to": 3, "msg_id": 4})
    assert tried.ending is Ending.OK


def test_a_register_that_shows_0_for_nothing_is_taken_for_null_with_a_remark():
    chosen = workload("txn-rw-register", Setting())
    tried = Attempt(chosen, Step("txn", value=[["r", 1, None], ["r", 2, None], ["w", 1, 7]]), Seat(0, "n1"))
    tried.answered({"type": "txn_ok", "txn": [["r", 1, 0], ["r", 2, False], ["w", 1, 7]]})
    assert tried.result == [["r", 1, None], ["r", 2, False], ["w", 1, 7]]
    assert list(chosen.remarks) == [
        "n1 read 0 where nothing was written; the protocol wants null. It was taken for null."
    ]


@pytest.mark.parametrize(
    ("name", "step", "reply", "result"),
    [
        ("broadcast", Step("read"), {"type": "read_ok", "messages": None}, []),
        ("g-set", Step("read"), {"type": "read_ok", "value": None}, []),
        ("kafka", Step("poll"), {"type": "poll_ok", "msgs": {"a": None}}, {"a": []}),
    ],
)
def test_null_is_taken_for_an_empty_list(name, step, reply, result):
    tried = attempt(name, step)
    tried.answered(reply)
    assert tried.ending is Ending.OK and tried.result == result


def test_kinds_of_fields():
    assert OFFSETS.holds({"a": 1}) and not OFFSETS.holds({"a": None}) and not OFFSETS.holds([])
    assert MESSAGES.holds({"a": [[1, None]]}) and not MESSAGES.holds({"a": [1]}) and MESSAGES.holds({"a": None})
    assert not INTEGER.holds(False)


# ------------------------------------------------------------------------------------------------ kafka's clients


def test_a_client_of_kafka_starts_at_the_committed_offset_polls_on_and_commits():
    seat = Seat(0, "n1")
    tried = attempt("kafka", Step("assign", value=["a", "b"]), seat)
    assert tried.request == {"type": "list_committed_offsets", "keys": ["a", "b"]}
    tried.answered({"type": "list_committed_offsets_ok", "offsets": {"a": 7}})
    tried = attempt("kafka", Step("poll"), seat)
    assert tried.request == {"type": "poll", "offsets": {"a": 7, "b": 0}}
    tried.answered({"type": "poll_ok", "msgs": {"a": [[7, "x"], [9, "y"]], "b": []}})
    assert tried.request == {"type": "commit_offsets", "offsets": {"a": 9}}
    tried.answered({"type": "commit_offsets_ok"})
    assert tried.ending is Ending.OK and tried.result == {"a": [[7, "x"], [9, "y"]], "b": []}
    assert attempt("kafka", Step("poll"), seat).request == {"type": "poll", "offsets": {"a": 10, "b": 0}}
    assert attempt("kafka", Step("assign", value=["a"]), seat).request is not None


def test_a_client_of_kafka_whose_commit_fails_polls_the_same_again():
    seat = Seat(0, "n1")
    attempt("kafka", Step("assign", "beginning", ["a"]), seat)
    tried = attempt("kafka", Step("poll"), seat)
    tried.answered({"type": "poll_ok", "msgs": {"a": [[0, "x"]]}})
    tried.failed(RequestFailed(11))
    assert tried.ending is Ending.FAILED
    assert attempt("kafka", Step("poll"), seat).request == {"type": "poll", "offsets": {"a": 0}}


def test_a_client_of_kafka_chooses_keys_before_it_polls_and_again_after_a_crash():
    chosen, seat = workload("kafka", Setting()), Seat(0, "n1")
    kinds = [chosen.step(seat).kind for _ in range(2000)]
    assert "poll" not in kinds and {"assign", "send", CRASH} == set(kinds)
    seat.memory["next"] = {"a": 0}
    assert "poll" in [chosen.step(seat).kind for _ in range(10)]
    seat.sit("c9")
    assert seat.memory == {} and seat.client == "c9"


def test_the_final_polls_of_kafka_go_on_until_everything_known_was_seen():
    chosen, seat = workload("kafka", Setting()), Seat(0, "n1")
    for offset in range(2):
        step = Step("send", "a", offset)
        sent = Attempt(chosen, step, seat)
        sent.answered({"type": "send_ok", "offset": offset})
        chosen.heard(step, sent)
    taken = []
    for step in chosen.final_steps(seat):
        taken.append(step.kind)
        tried = Attempt(chosen, step, seat)
        while tried.request is not None:
            start = tried.request.get("offsets", {}).get("a")
            tried.answered(
                {"type": "poll_ok", "msgs": {"a": [[start, start]]}}
                if tried.request["type"] == "poll"
                else {"type": "commit_offsets_ok"}
            )
        if step.kind == CRASH:
            seat.sit("c2")
    assert taken == [CRASH, "assign", "poll", "poll"]


# ------------------------------------------------------------------------------------------------ judging


def test_only_the_final_reads_of_a_counter_are_judged():
    history = History(
        [
            Operation("a", "add", value=2, called=0, returned=1),
            Operation("b", "read", result=0, called=2, returned=3),
            Operation("b", "read", result=2, called=10, returned=11),
            Operation("a", "read", result=2, called=10, returned=11),
            Operation("c", "read", result=0, called=4, returned=5),
        ]
    )
    assert workload("g-counter", Setting()).check(history, 10)
    assert not workload("g-counter", Setting()).check(history, None)


def test_the_worst_of_several_consistency_models_is_the_verdict():
    history = History(
        [
            Operation("a", "txn", value=[["append", 1, 1]], result=[["append", 1, 1]], called=0, returned=1),
            Operation("b", "txn", value=[["r", 1, None]], result=[["r", 1, None]], called=2, returned=3),
            Operation("b", "txn", value=[["r", 1, None]], result=[["r", 1, [1]]], called=4, returned=5),
        ]
    )
    weak = Setting(consistency_models=("read-committed", "serializable"))
    assert workload("txn-list-append", weak).check(history)
    strict = Setting(consistency_models=("serializable", "strict-serializable"))
    assert workload("txn-list-append", strict).check(history).names == ("G-single-realtime",)


# ------------------------------------------------------------------------------------------------ topologies, strokes


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("count", [1, 2, 5, 25])
def test_neighbours_are_mutual_and_everybody_is_reached(name, count):
    nodes = [f"n{number}" for number in range(count)]
    found = topology(name, nodes)
    assert list(found) == nodes
    assert all(one in found[other] for one in nodes for other in found[one])
    reached, new = set(), {nodes[0]}
    while new:
        reached |= new
        new = {other for one in new for other in found[one]} - reached
    assert reached == set(nodes)


def test_a_grid_has_four_neighbours_at_most_and_a_tree4_five():
    nodes = [f"n{number}" for number in range(25)]
    assert Counter(map(len, topology("grid", nodes).values())) == {2: 4, 3: 12, 4: 9}
    assert topology("tree4", nodes)["n1"] == ["n0", "n5", "n6", "n7", "n8"]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [2, 3, 4, 5, 25])
def test_a_fault_goes_on_and_off_in_turn(seed, count):
    nodes = [f"n{number}" for number in range(count)]
    strokes = plan(["partition", "kill", "pause"], nodes, 2, 60, seed)
    for begins, ends in (("partition", "heal"), ("kill", "restart"), ("pause", "resume")):
        mine = [stroke for stroke in strokes if stroke.what in (begins, ends)]
        assert len(mine) >= 8
        assert [stroke.what for stroke in mine] == [(begins, ends)[number % 2] for number in range(len(mine))]
        for on, off in zip(mine[::2], mine[1::2], strict=False):
            assert on.at_s <= off.at_s < 60 and set(on.nodes) <= set(nodes) and on.nodes
            assert begins == "partition" or on.nodes == off.nodes
    for stroke in strokes:
        if stroke.what == "partition":
            assert stroke.cuts and all(a != b for a, b in stroke.cuts)
            heard = [{a for a in nodes if (a, b) not in stroke.cuts} for b in nodes]
            if set(stroke.nodes) == set(nodes) and count > 2:  # the ring: all hear a majority, each another one
                assert {len(of_one) for of_one in heard} == {count // 2 + 1}
                assert len({frozenset(of_one) for of_one in heard}) == count
