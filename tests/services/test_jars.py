"""JARs: they arrive as they were pinned, or not at all."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import pytest

from labsupport.errors import SetupError
from labsupport.services import jars, sources

CONTENT = b"PK, or so it seems" * 1000
JAR = jars.Jar("org.example:thing:1.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
WITH_JARS = [system for system, pin in sources.PINS.items() if pin.java]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A Maven repository of our own with one file, an empty cache, and a system that needs this file."""
    place = tmp_path / "repository" / "org" / "example" / "thing" / "1.0"
    place.mkdir(parents=True)
    (place / "thing-1.0.jar").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(tmp_path / "repository"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(jars.REPOSITORY, f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setattr(jars, "listed", lambda system: [JAR])
        yield place / "thing-1.0.jar"
        server.shutdown()
        thread.join()


def nothing_is_left():
    return list(jars.directory().iterdir()) == []


def test_a_file_is_fetched_once(repository, capsys):
    assert [jar.size for jar in jars.missing("zookeeper")] == [len(CONTENT)]
    (path,) = jars.class_path("zookeeper")
    assert path.read_bytes() == CONTENT and list(jars.directory().iterdir()) == [path]
    repository.unlink()
    assert jars.class_path("zookeeper") == [path] and jars.missing("zookeeper") == []
    shown = capsys.readouterr()
    assert "ZooKeeper, from Maven Central" in shown.err and shown.out == ""


def test_other_contents_than_those_pinned_are_refused(repository):
    repository.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(SetupError, match=r"thing-1\.0\.jar arrived with other contents"):
        jars.fetch("zookeeper")
    assert nothing_is_left()


def test_half_a_file_in_the_cache_is_fetched_again(repository):
    JAR.path.parent.mkdir(parents=True)
    JAR.path.write_bytes(CONTENT[:99])
    jars.fetch("zookeeper")
    assert JAR.path.read_bytes() == CONTENT


def test_without_a_network_it_says_so(repository, monkeypatch):
    monkeypatch.setenv(jars.REPOSITORY, "http://127.0.0.1:9")
    with pytest.raises(SetupError) as caught:
        jars.fetch("zookeeper")
    assert "Maven Central does not answer" in caught.value.what and "network" in caught.value.cause
    assert nothing_is_left()


def test_a_repository_without_the_file_is_named(repository):
    repository.unlink()
    with pytest.raises(SetupError, match="does not have it"):
        jars.fetch("zookeeper")


def test_a_full_disk_is_the_disks_fault(repository, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jars.os, "replace", full)
    with pytest.raises(SetupError, match="No space left"):
        jars.fetch("zookeeper")
    assert nothing_is_left()


@pytest.mark.parametrize("system", WITH_JARS)
def test_every_list_is_in_order(system):
    listed = jars.listed(system)
    assert listed[0].coordinates.endswith(f":{sources.PINS[system].version}"), "the system itself comes first"
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in listed)


def test_no_two_files_share_a_name():
    everything = {jar for system in WITH_JARS for jar in jars.listed(system)}
    assert len({jar.path for jar in everything}) == len(everything)
