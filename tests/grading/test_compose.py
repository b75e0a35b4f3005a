"""What docker-compose.yml starts for a class too large for one machine."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from labsupport import cli
from labsupport.grading import remote
from labsupport.services import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def worker(compose):
    """The worker's arguments, as Compose gives them when a password is set."""
    words = [re.sub(r"\$\{GRADING_HOST:-([\w-]+)\}", r"\1", word) for word in compose["grading-worker"]["command"]]
    assert words[:3] == ["python3", "-m", "labsupport"]
    return cli._parser().parse_args([word.replace("${GRADING_PASSWORD:-}", "secret") for word in words[3:]])


def test_nothing_of_it_starts_unless_it_is_asked_for(compose):
    mine = {name for name in compose if name.startswith("grading-")}
    assert mine == {name for name, service in compose.items() if service.get("profiles") == ["grading"]}
    assert mine == {"grading-broker", "grading-store", "grading-worker"}


def test_its_broker_and_store_are_those_of_the_table(compose):
    assert compose["grading-broker"]["image"] == sources.PINS["rabbitmq"].image
    assert compose["grading-store"]["image"] == sources.PINS["redis"].image


def test_the_worker_asks_the_broker_and_the_store_that_are_started(compose, worker):
    account = compose["grading-broker"]["environment"]
    assert worker.broker == f"amqp://{account['RABBITMQ_DEFAULT_USER']}:secret@grading-broker:5672"
    assert worker.results == "redis://:secret@grading-store:6379/0"
    assert worker.results.replace("-store", "-broker") == remote.results_beside(worker.broker)
