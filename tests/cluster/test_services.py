"""The services that nodes may use: what each promises, and that it promises no more."""

from __future__ import annotations

import pytest

from labsupport.cluster import SERVICES
from labsupport.cluster.services import Service


def asking(name, seed=0):
    service, numbers = Service(name, seed), iter(range(1, 1_000_000))

    def ask(client, kind, **fields):
        return service.handle(client, {"type": kind, "msg_id": next(numbers), **fields})

    return ask


@pytest.mark.parametrize("name", ["lin-kv", "seq-kv"])
def test_a_client_reads_its_own_writes(name):
    ask = asking(name)
    for value in range(100):
        assert ask("n1", "write", key="x", value=value)["type"] == "write_ok"
        assert ask("n1", "read", key="x")["value"] == value


def test_lin_kv_shows_every_client_the_newest_value():
    ask = asking("lin-kv")
    for value in range(100):
        ask("n1", "write", key="x", value=value)
        assert ask("n2", "read", key="x")["value"] == value


@pytest.mark.parametrize("name", ["lin-kv", "seq-kv", "lww-kv"])
def test_errors_have_maelstroms_codes(name):
    ask = asking(name)
    assert ask("n1", "read", key="x")["code"] == 20
    assert ask("n1", "cas", key="x", **{"from": 1, "to": 2})["code"] == 20
    for _ in range(20):
        ask("n1", "write", key="x", value=1)
    assert ask("n1", "cas", key="x", **{"from": True, "to": 2})["code"] == 22
    assert ask("n1", "cas", key="x", **{"from": 1, "to": 2})["type"] == "cas_ok"
    assert ask("n1", "push", key="x")["code"] == 10
    assert ask("n1", "read")["code"] == 12


def test_cas_may_create_what_is_not_there_except_in_lww_kv():
    for name, kind in (("lin-kv", "cas_ok"), ("seq-kv", "cas_ok"), ("lww-kv", "error")):
        assert asking(name)("n1", "cas", key="x", create_if_not_exists=True, **{"from": 0, "to": 2})["type"] == kind


def test_seq_kv_shows_others_the_past_but_never_backwards():
    ask, seen = asking("seq-kv"), []
    for value in range(2000):
        ask("n1", "write", key="x", value=value)
        answer = ask("n2", "read", key="x")
        if answer["type"] == "read_ok":
            seen.append((answer["value"], value))
    assert all(now - value <= 32 for value, now in seen)
    assert any(value < now for value, now in seen)
    assert [value for value, _ in seen] == sorted(value for value, _ in seen)


def test_seq_kv_makes_changes_to_the_newest_value_only():
    ask = asking("seq-kv")
    for value in range(200):
        ask("n1", "write", key="x", value=value)
        stale = ask("n2", "cas", key="x", **{"from": value - 1, "to": -1})
        assert stale["type"] == "error"


def test_lww_kv_forgets_for_a_while_and_agrees_in_the_end():
    ask, stale = asking("lww-kv"), 0
    for value in range(300):
        ask("n1", "write", key="x", value=value)
        answer = ask("n1", "read", key="x")
        stale += answer.get("value") != value
    assert stale > 10
    later = [ask("n2", "read", key="x")["value"] for _ in range(50)]
    assert len(set(later[-20:])) == 1


def test_lin_tso_counts_from_zero():
    ask = asking("lin-tso")
    assert [ask(client, "ts")["ts"] for client in ("n1", "n2", "n1")] == [0, 1, 2]


@pytest.mark.parametrize("name", SERVICES)
def test_an_answer_names_its_request_and_has_no_number_of_its_own(name):
    service = Service(name, 0)
    answer = service.handle("n1", {"type": "read", "key": "x", "msg_id": 7, "in_reply_to": None})
    assert answer["in_reply_to"] == 7 and "msg_id" not in answer
    assert "in_reply_to" not in service.handle("n1", {"type": "ts"})


def test_keys_of_different_types_are_different_keys():
    ask = asking("lin-kv")
    ask("n1", "write", key=1, value="number")
    ask("n1", "write", key=[1, {"a": 2}], value="list")
    assert ask("n1", "read", key="1")["code"] == 20
    assert ask("n1", "read", key=[1, {"a": 2}])["value"] == "list"
