"""Celery workers on RabbitMQ with results in Redis: what is done again when a worker, or its pool, is killed."""

from __future__ import annotations

import importlib.util
import threading
import time

import celery
import pytest

from labsupport import environment
from labsupport.errors import LearnerError, ServiceError
from labsupport.services import CeleryWorkers, RabbitMQ, Redis, broken, running_services, start_all

WAIT_S = 90.0
# `held` says in a file who runs it, and waits until another file is there.
TASKS = """
import os, pathlib, time
from celery import Celery

app = Celery("tasks")

@app.task
def add(a, b):
    return a + b

def hold(folder):
    with open(pathlib.Path(folder) / "ran", "a") as file:
        file.write(f"{os.getpid()}\\n")
    end = time.monotonic() + 90
    while not (pathlib.Path(folder) / "go").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return "done"

@app.task(acks_late=True)
def late(folder):
    return hold(folder)

@app.task
def early(folder):
    return hold(folder)

@app.task
def variable():
    return os.environ.get("OF_THE_LESSON")
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    environment.add("celery")
    path = tmp_path_factory.mktemp("tasks") / "tasks_of_a_test.py"
    path.write_text(TASKS)
    return path


@pytest.fixture(scope="module")
def servers():
    rabbit, redis = start_all(RabbitMQ(), Redis())
    yield {"broker": rabbit, "backend": redis}
    rabbit.stop()
    redis.stop()


@pytest.fixture(scope="module")
def workers(file, servers):
    with CeleryWorkers(file, **servers, variables={"OF_THE_LESSON": "here"}) as service:
        yield service


@pytest.fixture(scope="module")
def tasks(file, workers):
    spec = importlib.util.spec_from_file_location("tasks_of_a_test", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    workers.connect(module.app)
    yield module
    module.app.close()


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def runners(folder):
    """The processes that have begun a task, in order."""
    file = folder / "ran"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def worker_of(workers, pid):
    return next(node for node in workers.nodes if pid in node.pool)


def test_a_task_is_run_and_its_result_comes_back(tasks):
    assert [tasks.add.delay(number, 2).get(timeout=WAIT_S) for number in range(3)] == [2, 3, 4]
    assert tasks.variable.delay().get(timeout=WAIT_S) == "here"


def test_a_task_that_is_acknowledged_late_survives_its_worker(workers, tasks, tmp_path):
    result = tasks.late.delay(str(tmp_path))
    (first,) = until(lambda: runners(tmp_path))
    victim = worker_of(workers, first)
    victim.kill()
    assert victim.state == "stopped" and victim.pool == []
    until(lambda: len(runners(tmp_path)) == 2)
    (tmp_path / "go").touch()
    assert result.get(timeout=WAIT_S) == "done"
    victim.restart()
    assert victim.state == "running" and len(victim.pool) == 1


def test_a_task_that_is_acknowledged_early_dies_with_its_worker(workers, tasks, tmp_path):
    result = tasks.early.delay(str(tmp_path))
    (first,) = until(lambda: runners(tmp_path))
    victim = worker_of(workers, first)
    victim.kill()
    (tmp_path / "go").touch()
    victim.restart()
    for _ in range(4):  # both workers have taken others since
        tasks.add.delay(1, 1).get(timeout=WAIT_S)
    assert len(runners(tmp_path)) == 1 and not result.ready()


def test_a_worker_whose_pool_is_killed_says_so_and_goes_on(workers, tasks, tmp_path):
    import billiard.exceptions

    result = tasks.late.delay(str(tmp_path))
    (first,) = until(lambda: runners(tmp_path))
    worker = worker_of(workers, first)
    worker.kill_pool()
    with pytest.raises(billiard.exceptions.WorkerLostError):
        result.get(timeout=WAIT_S)
    assert worker.state == "running"
    until(lambda: worker.pool and first not in worker.pool)
    assert runners(tmp_path) == [first], "not run again, although it was to be acknowledged late"


def test_a_warm_shutdown_finishes_what_is_in_hand(workers, tasks, tmp_path):
    result = tasks.early.delay(str(tmp_path))
    (first,) = until(lambda: runners(tmp_path))
    worker = worker_of(workers, first)
    ending = threading.Thread(target=worker.terminate, args=(WAIT_S,))
    ending.start()
    until(lambda: "Warm shutdown" in worker.logs())
    (tmp_path / "go").touch()
    assert result.get(timeout=WAIT_S) == "done"
    ending.join(WAIT_S)
    assert worker.state == "stopped"
    worker.restart()


def test_frozen_workers_run_nothing_until_they_go_on(workers, tasks):
    for node in workers.nodes:
        node.pause()
    result = tasks.add.delay(1, 2)
    with pytest.raises(celery.exceptions.TimeoutError) as caught:
        result.get(timeout=0.2)
    shown = broken.explanation(caught.value, {"workers": workers})
    assert "worker-0 of Celery is frozen" in shown.what and "workers.nodes[0].resume()" in shown.do
    for node in workers.nodes:
        node.resume()
    assert result.get(timeout=WAIT_S) == 3


def test_it_shows_itself_without_a_password_and_has_no_leader(workers, servers):
    shown = repr(workers)
    assert "worker-0 running" in shown and servers["broker"].password not in shown
    with pytest.raises(ServiceError, match="no leader"):
        workers.leader()


def test_an_application_that_cannot_be_loaded_is_the_learners_affair(servers, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("import celery\napp = celery.Celery('wrong')\n1 / 0\n")
    with pytest.raises(LearnerError, match="cannot load the application") as caught:
        CeleryWorkers(path, **servers, nodes=1).start()
    assert "ZeroDivisionError" in str(caught.value)
    with pytest.raises(LearnerError, match="no file"):
        CeleryWorkers(tmp_path / "nowhere.py", **servers, nodes=1).start()


def test_what_is_not_given_is_started_and_stopped_with_it():
    before = len(running_services())
    with CeleryWorkers(nodes=1) as workers:
        assert len(running_services()) == before + 3 and workers.nodes[0].pid
    assert len(running_services()) == before
