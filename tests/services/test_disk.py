"""A disk that is full, or that must not be written: the machine's turn, said in three lines."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from labsupport.services import Kafka
from tests.services.owners import REPOSITORY, until, wait_until_nothing_is_left
from tests.services.test_kafka import create, produce

START = """
import json, sys, tempfile
from labsupport.errors import LabError
from labsupport.services import *
from labsupport.services import base, dynamodb
dynamodb.DynamoDB.ready_timeout_s = 10.0  # who cannot write that it is ready is waited for to the end
tempfile.tempdir = sys.argv[1]
if sys.argv[3] == "False":
    base.Service._check_room = lambda self: None
try:
    globals()[sys.argv[2]]().start().stop()
    print(json.dumps(["started", "", "", ""]))
except LabError as error:
    print(json.dumps([type(error).__name__, error.what, error.cause, error.do]))
"""
LIGHT, HEAVY = (
    ["Nats", "Redis", "RabbitMQ", "Etcd", "Gearman"],
    ["ZooKeeper", "Kafka", "Cassandra", "Spark", "DynamoDB"],
)
KINDS = [*LIGHT, *HEAVY]
FRUGAL = ("Nats", "Redis", "ZooKeeper", "Kafka", "Spark", "DynamoDB", "Gearman")  # can start with very little
ROOT_USER = os.getuid() == 0


def start(kind, root, *, looking_first=True):
    """Start and stop a service in another process, whose files belong below `root`."""
    argv = [sys.executable, "-c", START, str(root), kind, str(looking_first)]
    if ROOT_USER:  # who may write anywhere, unless that is taken away
        argv = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *argv]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    shown = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


@contextlib.contextmanager
def small_disk(at: Path, size: str, *options: str):
    """A file system of its own, some kilobytes large."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", "mode=1777", *options]), "lab", at], check=True
    )
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


needs_mount = pytest.mark.skipif(not ROOT_USER, reason="only root can mount a small disk; the container of CI is root")


@needs_mount
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_with_too_little_room_is_the_machines_turn_at_once(kind, tmp_path):
    with small_disk(tmp_path, "2m"):
        outcome, what, cause, do = start(kind, tmp_path)
        assert list(tmp_path.glob("lab-*")) == []
    assert outcome == "SetupError"
    assert "MB" in what and str(tmp_path) in what and "full" in cause and "TMPDIR" in do


@needs_mount
@pytest.mark.parametrize(
    ("kind", "free_kb"), [*itertools.product(LIGHT, (0, 4, 16, 200)), *itertools.product(HEAVY, (0, 16))]
)
def test_a_disk_that_fills_up_during_the_start_is_the_machines_turn(kind, free_kb, tmp_path):
    with small_disk(tmp_path, "1m"):
        (tmp_path / "ballast").write_bytes(bytes((1024 - free_kb) * 1024))
        outcome, what, cause, do = start(kind, tmp_path, looking_first=False)
        wait_until_nothing_is_left(tmp_path, 5.0)
    assert outcome == "SetupError" or (outcome == "started" and free_kb > 0 and kind in FRUGAL), what
    if outcome != "started":
        assert "full" in what + cause and "TMPDIR" in do


@needs_mount
def test_a_broker_whose_disk_is_full_ends_and_says_so(tmp_path, monkeypatch):
    with small_disk(tmp_path, "70m"):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with Kafka() as service:
            topic = create(service, "large")
            with contextlib.suppress(OSError):
                (tmp_path / "ballast").write_bytes(bytes(80_000_000))  # more than there is room for
            with contextlib.suppress(KafkaException):
                produce(service, topic, "x" * 900_000, acks="1", message_timeout_ms=5000)
            until(lambda: service.nodes[0].state == "stopped", limit_s=60)
            happened, _ = service.nodes[0].what_happened()
            assert f"there is no room in {tmp_path}" in happened


@needs_mount
@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_disk_is_the_machines_turn(kind, tmp_path):
    with small_disk(tmp_path, "1m", "ro"):
        outcome, what, cause, do = start(kind, tmp_path)
    assert outcome == "SetupError"
    assert "read-only" in cause and "TMPDIR" in do and str(tmp_path) in what


@pytest.mark.parametrize("kind", KINDS)
def test_a_directory_that_belongs_to_somebody_else_is_the_machines_turn(kind):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "closed")
        root.mkdir(mode=0o555)
        outcome, what, cause, do = start(kind, root)
    assert outcome == "SetupError"
    assert "may not write" in cause and "TMPDIR" in do and str(root) in what


def test_no_temporary_directory_at_all_is_the_machines_turn(monkeypatch):
    from labsupport.errors import SetupError
    from labsupport.services import Redis

    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(SetupError, match="No temporary directory can be written"):
        Redis().start()
