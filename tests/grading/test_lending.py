"""A broker is lent to one check after another, and none of them notices."""

from __future__ import annotations

import pytest

from labsupport.errors import ServiceError
from labsupport.grading.lending import Servers
from labsupport.services import RabbitMQ, Redis, running_services


def test_a_server_that_runs_is_lent_again_and_one_that_does_not_is_not():
    with Servers() as servers:
        with servers.lend(Redis) as first:
            pass
        with pytest.raises(KeyError), servers.lend(Redis) as second:
            raise KeyError("a verdict on an answer")
        with servers.lend(Redis) as third:
            third.nodes[0].kill()
        with servers.lend(Redis) as fourth:
            assert fourth.nodes[0].state == "running"
        assert first is second is third and fourth is not third
    assert not {first, fourth} & set(running_services())


def test_a_server_that_an_error_was_about_is_not_lent_again():
    with Servers() as servers:
        with pytest.raises(ServiceError), servers.lend(Redis) as first:
            raise ServiceError("it does not answer")
        assert first not in running_services()
        with servers.lend(Redis) as second:
            assert second is not first


def test_a_check_that_kills_its_broker_and_does_not_restart_it_ends_its_namespace_too():
    with Servers() as servers:
        with servers.lend(RabbitMQ) as rabbit, rabbit.namespace():
            rabbit.nodes[0].kill()
        assert rabbit not in running_services()
