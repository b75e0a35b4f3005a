"""Systems that are kept running outside a notebook: where they are, and that they end when they are told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport import cli, environment
from labsupport.services import jars, supplies, up
from labsupport.services.wire import http, resp

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Up:
    """The command as a process, in a temporary directory of its own, so that `down` finds no other."""

    def __init__(self, place, *words):
        self.environment = {**os.environ, "TMPDIR": str(place)}
        self.said = place / "said"
        with open(self.said, "w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "labsupport", "up", *words],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def urls(self, count):
        lines = [self.process.stdout.readline() for _ in range(count)]
        return {name: value.split(",") for name, value in re.findall(r"export (\w+)='?([^'\n]*)", "".join(lines))}

    def down(self):
        words = [sys.executable, "-m", "labsupport", "down"]
        return subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True)


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*words):
        started.append(Up(tmp_path, *words))
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait(WAIT_S)
        each.process.stdout.close()


def directories(place):
    return list(place.glob("lab-*"))


def is_closed(url):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(re.search(r":(\d+)(/|$)", url)[1]))) != 0


def test_it_prints_where_each_system_is_and_runs_until_down(run, tmp_path):
    running = run("Redis", "etcd")
    urls = running.urls(2)
    assert set(urls) == {"LAB_REDIS_URL", "LAB_ETCD_URL"}
    password, port = re.match(r"redis://:(\w+)@127.0.0.1:(\d+)", urls["LAB_REDIS_URL"][0]).groups()
    with resp.Resp(int(port), password, timeout_s=WAIT_S) as client:
        assert client.call("PING") == "PONG"
    assert http.request(int(urls["LAB_ETCD_URL"][0].rpartition(":")[2]), "/version", timeout_s=WAIT_S)["etcdserver"]
    assert running.down().stderr == "Ended 1.\n"
    assert running.process.wait(WAIT_S) == 0
    assert directories(tmp_path) == [] and all(is_closed(each[0]) for each in urls.values())
    assert running.down().stderr == "Nothing was running.\n"


def test_it_tells_of_a_node_that_ends_and_ctrl_c_ends_the_rest(run, tmp_path):
    running = run("nats", "--nodes", "3")
    urls = running.urls(1)["LAB_NATS_URL"]
    assert len(urls) == 3
    (victim,) = [pid for pid in children(running.process.pid) if "nats-1" in command(pid)]
    os.kill(victim, signal.SIGKILL)
    until(lambda: "nats-1 has ended by itself" in running.said.read_text())
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(WAIT_S) == 0
    assert directories(tmp_path) == [] and all(map(is_closed, urls))


def test_a_stop_while_it_starts_leaves_nothing(run, tmp_path):
    running = run("nats", "etcd", "--nodes", "3")
    until(lambda: len(directories(tmp_path)) >= 2)
    running.down()
    assert running.process.wait(WAIT_S) == 0
    assert directories(tmp_path) == []


def children(pid):
    import psutil

    return [child.pid for child in psutil.Process(pid).children()]


def command(pid):
    import psutil

    return " ".join(psutil.Process(pid).cmdline())


def test_what_cannot_be_kept_running_is_refused_in_words(monkeypatch, capsys):
    monkeypatch.setattr(environment, "enter", lambda argv, **needs: None)
    assert cli.main(["up", "oracle"]) == 2
    assert "There is no system 'oracle'" in capsys.readouterr().err
    assert "celery" not in up.systems() and "nats" in up.systems()


def test_fetch_says_how_much_and_how_long(monkeypatch):
    monkeypatch.setattr(environment, "has", lambda name: name != "spark")
    monkeypatch.setattr(jars, "missing", lambda system: [])
    assert supplies.announcement(["kafka", "spark"]).startswith(
        "450 MB of Python packages to download: at 5 MB/s about 4 m"
    )
    monkeypatch.setattr(environment, "has", lambda name: True)
    assert supplies.announcement(["kafka", "spark"]) == ""
    monkeypatch.setattr(jars, "missing", lambda system: [jars.Jar(f"a:{system}:1", "", 40_000_000)])
    assert re.fullmatch(r"\d+ MB of JARs to download: at 5 MB/s about \d+ minutes?\.", supplies.announcement([]))


def test_what_a_lesson_needs_is_brought_before_it_runs(monkeypatch):
    brought = []
    monkeypatch.setattr(supplies.environment, "add", lambda *names: brought.extend(names))
    monkeypatch.setattr(supplies.sources, "bring", brought.append)
    monkeypatch.setattr(supplies.jars, "fetch", lambda system: brought.append(f"JARs of {system}"))
    monkeypatch.setattr(supplies.java, "find", lambda oldest, newest, what: brought.append("Java"))
    supplies.bring("03")
    supplies.bring("09")
    assert brought == ["thrift", "etcd", "zookeeper", "Java", "JARs of zookeeper"]
