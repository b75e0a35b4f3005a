"""Grading on other machines: the same marks, whoever dies, and a clear word when nobody is there."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pika
import pytest
import redis
from grading_course import RIGHT

from labsupport.errors import ServiceError, SetupError
from labsupport.grading import remote, remote_worker, sandbox
from labsupport.grading.grader import machine
from labsupport.grading.pool import Task
from labsupport.grading.submissions import find
from labsupport.history import Outcome
from labsupport.services import RabbitMQ, Redis, reaper, start_all
from tests.grading.classes import CORPUS, WAITING, graded, outcomes
from tests.grading.test_grade import hand_in

WAIT_S = 120.0
ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = """
import sys
from labsupport.grading import remote, remote_worker
remote.LEASE_S = 4
broker, results, corpus, jobs = sys.argv[1:]
remote_worker.serve(broker, results, int(jobs), ["grading_course"], [corpus])
"""
GRADER = """
import pathlib, sys
from labsupport.grading import grade
places, out, corpus, broker, results = sys.argv[1:]
options = grade.Options(modules=("grading_course",), path=(corpus,), seed=7, broker=broker, results=results)
grade.grade([places], pathlib.Path(out), options, lambda done, of: print(done, flush=True))
"""
WRONG = RIGHT | {"99.1": RIGHT["99.1"].replace("max(self.time, time)", "self.time")}


@pytest.fixture(scope="module")
def servers():
    rabbit, store = start_all(RabbitMQ(), Redis())
    yield rabbit, store
    rabbit.stop()
    store.stop()


@pytest.fixture
def place(servers):
    """A broker and a store in which nobody has done anything, as options."""
    rabbit, store = servers
    with redis.Redis.from_url(store.url) as client, rabbit.namespace() as broker:
        client.flushall()
        client.config_resetstat()
        yield {"broker": broker, "results": store.url}


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote") / "in"
    return hand_in(folder, {"ann": RIGHT, "bob": WRONG, "cy": {}, "dan": WAITING, "eve": WAITING})


@pytest.fixture(scope="module")
def marks(handed_in, tmp_path_factory):
    """What this machine says about them."""
    out = tmp_path_factory.mktemp("here")
    return [outcomes(learner) for learner in graded([handed_in], out).learners], verdicts(out)


def verdicts(out) -> dict[tuple, tuple]:
    """What a journal says of each exercise, without the time that it took."""
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text("utf-8").splitlines()]
    entries = [line for line in lines if "key" in line]
    assert len(entries) == len({tuple(entry["key"]) for entry in entries})
    return {tuple(entry["key"]): (entry["verdict"], entry["problems"]) for entry in entries}


@contextlib.contextmanager
def running(program, *words, root=ROOT):
    path = os.pathsep.join([str(root), str(CORPUS)])
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env=reaper.env({**os.environ, "PYTHONPATH": path}),
        start_new_session=True,
    ) as process:
        reaper.adopt(process.pid)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            reaper.release(process.pid)


@contextlib.contextmanager
def worker(place, jobs=2, root=ROOT):
    """A worker that is ready."""
    with running(WORKER, place["broker"], place["results"], str(CORPUS), str(jobs), root=root) as process:
        assert "notebooks at a time" in process.stdout.readline()
        yield process


def given(place) -> int:
    """How many verdicts workers have given."""
    with redis.Redis.from_url(place["results"]) as client:
        return client.info("commandstats").get("cmdstat_hsetnx", {"calls": 0})["calls"]


def wait_for(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_verdicts_are_those_of_one_machine_and_a_second_grader_finds_them_done(place, handed_in, marks, tmp_path):
    with worker(place):
        found = graded([handed_in], tmp_path / "out", **place)
        again = graded([handed_in], tmp_path / "again", **place)
    assert [outcomes(learner) for learner in found.learners] == marks[0]
    assert found.weaknesses == again.weaknesses == tuple(sandbox.weaknesses())
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "again") == marks[1]
    assert given(place) == 25


def test_a_worker_that_is_killed_loses_nothing_and_nothing_is_graded_twice(place, handed_in, marks, tmp_path):
    results = []
    with worker(place, jobs=1) as first:
        grader = threading.Thread(target=lambda: results.append(graded([handed_in], tmp_path / "out", **place)))
        grader.start()
        wait_for(lambda: given(place) >= 6)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert given(place) < 25
        with worker(place):
            grader.join(WAIT_S)
    assert verdicts(tmp_path / "out") == marks[1] and len(results) == 1
    assert given(place) == 25


def test_a_grader_that_is_killed_goes_on_while_the_workers_did(place, handed_in, marks, tmp_path):
    words = str(handed_in), str(tmp_path / "out"), str(CORPUS), place["broker"], place["results"]
    with worker(place, jobs=1):
        with running(GRADER, *words) as grader:
            while int(grader.stdout.readline()) < 6:
                pass
            grader.send_signal(signal.SIGKILL)
            grader.wait()
        assert len(verdicts(tmp_path / "out")) < 25
        graded([handed_in], tmp_path / "out", **place)
    assert verdicts(tmp_path / "out") == marks[1]
    assert given(place) == 25


def test_a_broker_that_has_lost_its_tasks_gets_them_again(place, handed_in, marks, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "QUIET_S", 3.0)
    send, lost = remote.Remote._send, []

    def send_and_lose(self, key, task):
        size = send(self, key, task)
        if len(lost) < 5:
            with contextlib.closing(pika.BlockingConnection(pika.URLParameters(place["broker"]))) as connection:
                lost.append(connection.channel().queue_purge(remote.queue_of(self._version)).method.message_count)
        return size

    monkeypatch.setattr(remote.Remote, "_send", send_and_lose)
    with worker(place, jobs=1):
        graded([handed_in], tmp_path / "out", **place)
    assert sum(lost) > 0
    assert verdicts(tmp_path / "out") == marks[1]


def test_an_answer_that_ends_worker_after_worker_is_left_to_a_person(servers, place, handed_in):
    (submission,) = [one for one in find([handed_in])[0] if "ann" in one.path]
    order = Task(submission, "digest", "99", ("99.1", "99.2"), 7, 60.0, 6.0).order()
    seat = remote_worker.Seat(machine(["grading_course"], [str(CORPUS)]), place["results"])
    notes = remote.Verdicts(remote.store_at(place["results"]), "key")
    for _ in range(remote_worker.TRIES):
        notes.begun("99.1")
    seat.grade("key", order)
    seat.end()
    told = notes.all()
    assert {exercise: one["verdict"]["outcome"] for exercise, one in told.items()} == {
        "99.1": "unknown",
        "99.2": "pass",
    }
    assert "look at it yourself" in told["99.1"]["verdict"]["summary"]


def test_a_notebook_that_is_too_large_to_be_sent_is_left_to_a_person(place, handed_in, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "LARGEST", 10)
    with worker(place):
        found = graded([handed_in], tmp_path / "out", **place)
    assert {mark.verdict.outcome for mark in found.marks} == {Outcome.UNKNOWN}
    assert "too much to be sent" in found.marks[0].verdict.summary


def test_no_worker_is_said_and_not_waited_for(place, handed_in, tmp_path):
    with pytest.raises(ServiceError, match="No grading worker answers") as caught:
        graded([handed_in], tmp_path / "out", **place)
    assert "grade-worker" in caught.value.do


def test_workers_of_another_version_get_nothing_to_do(place, handed_in, tmp_path):
    shutil.copytree(sandbox.PACKAGE, tmp_path / "labsupport", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "labsupport" / "history.py").open("a") as file:
        file.write("# another version\n")
    with (
        worker(place, root=tmp_path),
        pytest.raises(SetupError, match=r"another version of the course: [0-9a-f]{12}@"),
    ):
        graded([handed_in], tmp_path / "out", **place)
    assert given(place) == 0


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("broker", {"broker": "amqp://lab:lab@127.0.0.1:1"}),
        ("broker", {"broker": "a wrong password"}),
        ("store", {"results": "redis://:lab@127.0.0.1:1/0"}),
    ],
    ids=["no broker", "another password", "no store"],
)
def test_a_broker_or_a_store_that_does_not_answer_is_an_error(what, wrong, place, handed_in, tmp_path):
    if wrong.get("broker") == "a wrong password":
        wrong = {"broker": place["broker"].replace("@", "x@")}
    with pytest.raises(ServiceError, match=f"The {what} at .* does not answer") as caught:
        graded([handed_in], tmp_path / "out", **{**place, **wrong})
    assert "lab@" not in str(caught.value) and "x@" not in str(caught.value)


def test_the_store_is_beside_the_broker_unless_said_otherwise():
    assert remote.results_beside("amqp://lab:secret@far:5673/%2F") == "redis://:secret@far:6379/0"
