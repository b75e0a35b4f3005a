"""The picture of an assignment shows who has what over time, in all forms alike, as the consumers know it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from labsupport import Assignment, Kafka
from labsupport.services.gauges import Shares
from labsupport.view import assignment, live_picture

READER = """
import json, os, sys
from confluent_kafka import Consumer

name, servers, strategy, session_ms = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": servers, "group.id": "billing", "client.id": name, "partition.assignment.strategy": strategy,
    "session.timeout.ms": int(session_ms), "heartbeat.interval.ms": 300, "auto.commit.interval.ms": 200,
})

def tell():
    with open(name + ".part", "w") as file:
        json.dump([place.partition for place in consumer.assignment()], file)
    os.replace(name + ".part", name)

consumer.subscribe(["orders"])
while True:
    consumer.poll(0.1)
    tell()
"""
LONG_MS, SHORT_MS = 120_000, 6000  # the sessions of one that is frozen for a while, and of one that is killed


class Group:
    """Something with an assignment."""

    title, nodes = "Kafka", ("kafka-0",)

    def __init__(self) -> None:
        self.now = Shares(False, {0: "", 1: ""}, {0: 0, 1: 0})

    def assignment(self, topic, group):
        return lambda: self.now


def until(condition, what: str, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)


def bands(picture: Assignment) -> list[str]:
    """The names of the bands, from the upper left to the lower right."""
    return re.findall(r"<g><title>([^<]*)</title><rect", picture.still())


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setattr(live_picture, "LOOK_S", 0.001)
    return Group()


def test_a_lane_has_a_band_for_each_consumer_and_dots_where_nobody_reads(group):
    with Assignment(group, "orders", group="billing") as picture:
        until(lambda: picture.changes, "a look")
        for number, readers in enumerate([{0: "<a>", 1: "<a>"}, {0: "", 1: ""}, {0: "<a>", 1: "b"}]):
            group.now = Shares(number == 1, readers, {0: 3, 1: 1234})
            until(lambda number=number: len(picture.changes) == number + 2, "the change")
            picture.mark(f"change <{number}>")
    assert bands(picture) == ["&lt;a&gt;", "&lt;a&gt;", "&lt;a&gt;", "b"]
    assert picture.still().count('stroke-dasharray="2 4"') == 4  # before there was anybody, and in the rebalance
    assert picture.still().count("<title>the group rebalances</title>") == 1
    summary = re.compile(
        r"Kafka · orders · billing after \d+\.\d s: partition 0: <a>, lag 3; partition 1: b, lag 1,234$"
    )
    assert summary.match(picture.summary) and picture.text().startswith(picture.summary)
    rows = [row[1:] for row in picture.table().rows]
    assert [row for row in rows if row[0]] == [
        ("nobody", "nobody", ""),
        ("<a>", "<a>", ""),
        ("nobody", "nobody", "rebalance"),
        ("<a>", "b", ""),
    ]
    assert [row[-1] for row in rows if not row[0]] == ["change <0>", "change <1>", "change <2>"]
    page = picture.page()
    for told in ("lag 1,234", "partition 1: b", "change &lt;1&gt;", 'role="img"', "The same as a table", "··· nobody"):
        assert told in page
    assert "<a>" not in page and "<1>" not in page


def test_a_moment_is_wide_enough_to_be_seen_and_consumers_are_told_apart_by_their_marks(group):
    with Assignment(group, "orders", group="billing") as picture:
        pass
    picture.lags, picture.after_s = {0: 0}, 1000.0
    picture.changes = [
        assignment.Change(0.0, False, {0: "one"}),
        assignment.Change(500.0, True, {0: ""}),
        assignment.Change(500.001, False, {0: "another"}),
        assignment.Change(999.999, False, {0: "one more"}),
    ]
    widths = [float(width) for width in re.findall(r'<rect [^>]*?width="([\d.]+)"', picture.still())]
    assert min(widths) == assignment.THINNEST and len(widths) == 4
    assert len({look for look in picture.looks.values()}) == len({path for _, path in picture.looks.values()}) == 3


def test_so_many_changes_that_nobody_could_see_them_are_forgotten(group, monkeypatch):
    monkeypatch.setattr(assignment, "MOST_CHANGES", 3)
    with Assignment(group, "orders", group="billing") as picture:
        for number in range(6):
            group.now = Shares(False, {0: f"c{number}"}, {0: 0})
            until(lambda name=f"c{number}": picture.changes and picture.changes[-1].readers == {0: name}, "the change")
    assert [change.readers[0] for change in picture.changes] == ["c3", "c4", "c5"]


def test_before_anything_was_seen_it_says_so(group):
    def look():
        raise OSError("no answer yet")

    group.assignment = lambda topic, group: look
    with Assignment(group, "orders", group="billing") as picture:
        pass
    assert repr(picture).startswith("Kafka · orders · billing: nothing seen yet\n") and "<svg" in picture.page()


@contextlib.contextmanager
def readers_of(kafka, folder, strategy):
    """A function that starts a consumer as a process; those that live are killed at the end."""
    running = []

    def start(name: str, session_ms: int) -> subprocess.Popen:
        program = [sys.executable, "-c", READER, name, kafka.bootstrap_servers, strategy, str(session_ms)]
        running.append(subprocess.Popen(program, cwd=folder, stderr=subprocess.DEVNULL))
        return running[-1]

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.wait()


def told_by(folder: pathlib.Path, *names: str) -> dict[int, str]:
    """Who has which partition, as the consumers themselves have been told."""
    return {
        number: name for name in names if (folder / name).exists() for number in json.loads((folder / name).read_text())
    }


@pytest.mark.parametrize(("strategy", "meanwhile"), [("range", ""), ("cooperative-sticky", "one")])
def test_what_three_real_consumers_have_while_they_come_freeze_and_die(tmp_path, strategy, meanwhile):
    with Kafka() as kafka, readers_of(kafka, tmp_path, strategy) as start:
        place = {"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0}
        admin = AdminClient(place)
        admin.create_topics([NewTopic("orders", 3)])["orders"].result(60)
        producer = Producer(place)
        picture = Assignment(kafka, "orders", group="billing")

        def shown(*names: str) -> bool:
            now = picture.changes[-1] if picture.changes else None
            return bool(now) and now.readers == told_by(tmp_path, *names) and set(now.readers.values()) == set(names)

        until(lambda: picture.changes and set(picture.changes[-1].readers.values()) == {""}, "three empty lanes")
        one = start("one", LONG_MS)
        until(lambda: shown("one"), "the first consumer to have all")

        one.send_signal(signal.SIGSTOP)  # the group waits for it
        two = start("two", LONG_MS)
        until(lambda: picture.changes[-1].rebalancing, "the rebalance")
        assert picture.changes[-1].readers == dict.fromkeys(range(3), meanwhile)
        assert "the group rebalances" in picture.text()
        one.send_signal(signal.SIGCONT)
        until(lambda: shown("one", "two"), "two consumers to share")

        three = start("three", SHORT_MS)
        until(lambda: shown("one", "two", "three"), "three consumers to share")
        three.kill()
        picture.mark("three is killed")
        until(lambda: shown("one", "two"), "the two others to have it again")

        for process in (one, two):
            process.kill()
        for number in range(6):
            producer.produce("orders", b"order", partition=number % 3)
        assert producer.flush(60) == 0
        until(lambda: picture.lags == {0: 2, 1: 2, 2: 2}, "the lag of what nobody reads")
    until(lambda: not picture._thread.is_alive(), "the picture to end with its cluster")
    assert {"one", "two", "three"} == set(picture.looks) == set(bands(picture))
    for form in (picture.text(), picture.page()):
        assert "three is killed" in form and "partition 2: " in form and "lag 2" in form and "nobody" in form
