"""Gearman: what a lesson does with it, by the client library that the lesson uses, with workers that are killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time

import pytest

from labsupport import environment
from labsupport.errors import ServiceError
from labsupport.services import Gearman, broken
from labsupport.services.wire import gearman as wire

WAIT_S = 60.0
# A worker that says which job it has got, reverses its text, and never finishes one that says "poison".
WORKER = """
import sys, time, gearman
def reverse(worker, job):
    print(job.data.decode(), flush=True)
    time.sleep(3600 if b"poison" in job.data else 0)
    return job.data[::-1]
worker = gearman.GearmanWorker(sys.argv[1:])
worker.register_task(b"reverse", reverse)
worker.work(poll_timeout=0.2)
"""


@pytest.fixture(scope="module", autouse=True)
def library():
    environment.add("gearman")


@pytest.fixture(scope="module")
def server():
    with Gearman() as service:
        yield service


@contextlib.contextmanager
def working(service):
    """A worker process, killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, *service.hosts], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def submit(service, text, **more):
    import gearman

    client = gearman.GearmanClient(service.hosts)
    return client.submit_job("reverse", text.encode(), poll_timeout=WAIT_S, **more)


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_goes_to_a_worker_and_its_result_comes_back(server):
    with working(server):
        done = submit(server, "abc")
    assert (done.state, done.result) == ("COMPLETE", b"cba")


def test_it_is_ready_on_entry_and_listens_here_alone(server):
    wire.echo(server.port)
    assert server.url == f"gearman://127.0.0.1:{server.port}" and server.hosts == [f"127.0.0.1:{server.port}"]
    assert wire.ask(server.port, "version").startswith(f"OK {server.program.version}")


def test_a_job_whose_worker_is_killed_is_done_by_another(server):
    results = []
    asking = threading.Thread(target=lambda: results.append(submit(server, "poison first")))
    with working(server) as first:
        asking.start()
        assert first.stdout.readline() == "poison first\n"
        assert server.queues()["reverse"] == (1, 1, 1)
    with working(server) as second:
        assert second.stdout.readline() == "poison first\n", "the same job, again"
        submit(server, "abc", background=True)
    until(lambda: server.queues()["reverse"].workers == 0)
    code = "import sys, gearman; w = gearman.GearmanWorker(sys.argv[1:]);"
    code += "w.register_task(b'reverse', lambda _, job: job.data[::-1]); w.work(poll_timeout=0.2)"
    with subprocess.Popen([sys.executable, "-c", code, *server.hosts]) as third:
        asking.join(WAIT_S)
        third.kill()
    assert [(each.state, each.result) for each in results] == [("COMPLETE", b"tsrif nosiop")]


def test_after_so_many_tries_a_job_has_failed():
    with Gearman(tries=2) as service:
        results = []
        asking = threading.Thread(target=lambda: results.append(submit(service, "poison")))
        asking.start()
        for _ in range(2):
            with working(service) as worker:
                assert worker.stdout.readline() == "poison\n"
        asking.join(WAIT_S)
        assert [each.state for each in results] == ["FAILED"]


@pytest.mark.parametrize("durable", [False, True], ids=["in-memory", "durable"])
def test_a_background_job_survives_its_server_only_when_it_is_durable(durable):
    with Gearman(durable=durable) as service:
        submit(service, "abc", background=True)
        assert service.queues()["reverse"].jobs == 1
        port = service.port
        service.nodes[0].kill()
        service.nodes[0].restart()
        assert service.port == port
        assert ("reverse" in service.queues() and service.queues()["reverse"].jobs == 1) is durable
        if durable:
            with working(service) as worker:
                assert worker.stdout.readline() == "abc\n"


def test_a_frozen_server_answers_when_it_goes_on(server):
    server.nodes[0].pause()
    with pytest.raises(TimeoutError):
        wire.echo(server.port, 0.2)
    with pytest.raises(ServiceError, match="paused"):
        server.queues()
    server.nodes[0].resume()
    wire.echo(server.port, WAIT_S)


def test_a_server_that_is_killed_is_named():
    import gearman

    with Gearman() as service:
        client = gearman.GearmanClient(service.hosts)
        service.nodes[0].kill()
        with pytest.raises(gearman.errors.GearmanError) as caught:
            client.submit_job("reverse", b"in vain", poll_timeout=WAIT_S)
        shown = broken.explanation(caught.value, {"gearmand": service})
        assert "gearman-0 of Gearman does not run" in shown.what and "gearmand.nodes[0].restart()" in shown.do


def test_a_client_goes_to_the_next_server_when_its_own_is_gone():
    with Gearman(nodes=2) as service:
        service.nodes[0].terminate()
        with working(service):
            assert submit(service, "abc").result == b"cba"
