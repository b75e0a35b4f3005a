"""The doctor: what it says of each system, in words and as JSON."""

from __future__ import annotations

import json
import types

import pytest

from labsupport import environment
from labsupport.environment import programs
from labsupport.errors import SetupError
from labsupport.services import doctor, running_services, sources

TITLES = [*(pin.title for pin in sources.PINS.values()), "Thrift"]
FIELDS = {"system", "ok", "version", "source", "ready_ms", "needs", "error"}


@pytest.fixture
def without_rabbitmq(monkeypatch):
    real = sources.program

    def program(system):
        if system == "rabbitmq":
            raise SetupError(
                "RabbitMQ is not installed on this machine.", do="run: sudo apt-get install rabbitmq-server"
            )
        return real(system)

    monkeypatch.setattr(sources, "program", program)


@pytest.fixture
def few_systems(monkeypatch):
    """Those that start fast, and what needs the one that is missing."""
    few = {system: sources.PINS[system] for system in ("nats", "redis", "rabbitmq", "etcd", "celery")}
    monkeypatch.setattr(sources, "PINS", few)


def test_it_starts_every_system_and_leaves_none(capsys):
    assert doctor.main(types.SimpleNamespace(json=True)) == 0
    answer = json.loads(capsys.readouterr().out)  # one document, and nothing else
    assert [each["system"] for each in answer["systems"]] == TITLES
    for each in answer["systems"]:
        assert set(each) == FIELDS
        assert each["ok"] is True and each["error"] == "" and each["version"]
        if each["system"] == "Spark" and not environment.has("spark"):
            assert not each["source"], "it comes at first use"
        else:
            assert each["source"] and (each["system"] == "Thrift" or each["ready_ms"] > 0)
    assert running_services() == []


def test_it_knows_which_lesson_needs_what():
    needs = {each.system: each.needs for each in doctor.report(start=False)}
    assert list(needs) == TITLES and needs["NATS"] == ("04",) and needs["etcd"] == ("00", "08", "09")


def test_what_is_missing_is_named_with_the_line_that_installs_it(few_systems, without_rabbitmq, capsys):
    assert doctor.main(types.SimpleNamespace(json=True)) == 1
    systems = {each["system"]: each for each in json.loads(capsys.readouterr().out)["systems"]}
    missing = systems["RabbitMQ"]
    assert (missing["ok"], missing["ready_ms"], missing["source"]) == (False, None, "")
    assert "sudo apt-get install rabbitmq-server" in missing["error"]
    assert not systems["Celery"]["ok"], "it needs a broker"
    assert all(systems[title]["ok"] for title in ("NATS", "Redis", "etcd", "Thrift"))


def test_the_table_says_it_in_words(few_systems, without_rabbitmq, capsys):
    assert doctor.main(types.SimpleNamespace(json=False)) == 1
    shown = capsys.readouterr().out
    assert "missing" in shown and "ready" in shown
    assert "RabbitMQ: RabbitMQ is not installed on this machine. → run: sudo apt-get install rabbitmq-server" in shown


def test_in_a_notebook_it_is_a_table_with_a_text_alternative(without_rabbitmq):
    checkup = doctor.doctor(start=False)
    assert len(repr(checkup).splitlines()) == len(TITLES) + 1 and "missing" in repr(checkup)
    shown = checkup._repr_html_()
    assert shown.count("<tr>") == len(TITLES) + 1 and "<th scope" in shown
    assert f"{len(TITLES) - 1} of {len(TITLES)} systems are ready" in shown


def test_what_comes_at_first_use_is_not_fetched_by_a_look(monkeypatch):
    monkeypatch.setattr(sources, "to_come", lambda system: "96 MB of JARs" if system == "zookeeper" else "")
    monkeypatch.setattr(doctor, "_class_of", lambda system: pytest.fail("nothing is to be started"))
    (found,) = [each for each in doctor.report(start=False) if each.system == "ZooKeeper"]
    assert (found.ok, found.source, found.ready_ms) == (True, "", None)
    assert "comes at first use" in found.cells() and "96 MB of JARs" in found.note and "labsupport fetch" in found.note


def test_thrift_does_without_its_compiler_and_says_how_to_get_it(monkeypatch):
    assert (doctor._examine_thrift().source, doctor._examine_thrift().note) == ("PATH", "")
    monkeypatch.setattr(programs.Program, "find", lambda self: None)
    without = doctor._examine_thrift()
    assert without.ok and without.source == "thriftpy2" and "thrift" in without.note


def test_an_address_in_the_environment_is_the_source(monkeypatch):
    monkeypatch.setenv("LAB_ETCD_URL", "http://127.0.0.1:1")
    (etcd,) = [each for each in doctor.report(start=False) if each.system == "etcd"]
    assert etcd.source == "LAB_ETCD_URL"


def test_the_course_offers_it_by_its_name():
    import labsupport

    assert labsupport.doctor is doctor.doctor
