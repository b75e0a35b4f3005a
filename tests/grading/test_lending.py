"""A broker is lent to one check after another, and none of them notices; one that was hurt is not lent again."""

from __future__ import annotations

import psutil
import pytest
import redis

from labsupport.errors import ServiceError
from labsupport.exercises.checking import Decided
from labsupport.grading import lending
from labsupport.grading.lending import Servers
from labsupport.history import Outcome
from labsupport.services import RabbitMQ, Redis, running_services


def test_a_broker_that_runs_is_lent_again_and_one_that_does_not_is_not():
    with Servers() as servers:
        with servers.lend(RabbitMQ) as first:
            pass
        with pytest.raises(KeyError), servers.lend(RabbitMQ) as second:
            raise KeyError("a verdict on an answer")
        with servers.lend(RabbitMQ) as third:
            third.nodes[0].kill()
        with servers.lend(RabbitMQ) as fourth:
            assert fourth.nodes[0].state == "running"
        process = psutil.Process(fourth.nodes[0].pid)
        process.kill()  # by whomever, while nobody has it
        process.wait()
        with servers.lend(RabbitMQ) as fifth:
            assert fifth.nodes[0].state == "running"
        assert first is second is third and fourth is not third and fifth is not fourth
    assert not {first, fourth, fifth} & set(running_services())


def test_a_server_without_namespaces_knows_nothing_of_the_check_before():
    with Servers() as servers:
        with servers.lend(Redis) as first:
            pass
        with servers.lend(Redis) as second:
            assert second is not first and first not in running_services()


def test_a_server_that_an_error_was_about_is_not_lent_again():
    with Servers() as servers:
        with pytest.raises(ServiceError), servers.lend(RabbitMQ) as first:
            raise ServiceError("it does not answer")
        assert first not in running_services()


def test_a_check_that_kills_its_broker_and_does_not_restart_it_ends_its_namespace_too():
    with Servers() as servers:
        with servers.lend(RabbitMQ) as rabbit, rabbit.namespace():
            rabbit.nodes[0].kill()
        assert rabbit not in running_services()


def test_an_answer_that_fills_a_server_is_told_so_whatever_the_check_says(monkeypatch):
    monkeypatch.setattr(lending, "MOST_MB", 60)
    with Servers() as servers:
        with pytest.raises(Decided) as decided, servers.lend(Redis) as store:
            client = redis.Redis.from_url(store.url)
            with pytest.raises(redis.RedisError):
                for number in range(1000):
                    client.set(f"key {number}", b"x" * 1_000_000)
        assert store not in running_services()
    assert decided.value.outcome is Outcome.FAIL and "filled" in str(decided.value)
