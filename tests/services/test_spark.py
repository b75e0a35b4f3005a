"""Spark: work that is done again when an executor or a worker dies."""

from __future__ import annotations

import threading
import time

import pytest

from labsupport.errors import ServiceError, SetupError
from labsupport.services import Spark, java, running_services, spark

WAIT_S = 180.0


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def cluster():
    with Spark(nodes=2) as service:
        service.session()
        until(lambda: all(node.executors for node in service.nodes))
        yield service


@pytest.fixture
def job(cluster, tmp_path):
    """A sum of 8 numbers whose tasks wait for a file; started in another thread."""
    ran, go, results = tmp_path / "ran", tmp_path / "go", []
    paths = str(ran), str(go)

    def double(number):
        import os
        import time

        with open(paths[0], "a") as file:
            file.write(f"{number}\n")
        while not os.path.exists(paths[1]):
            time.sleep(0.02)
        return 2 * number

    numbers = cluster.session().sparkContext.parallelize(range(8), 8).map(double)
    thread = threading.Thread(target=lambda: results.append(numbers.sum()))
    thread.start()
    until(lambda: ran.exists() and len(ran.read_text().split()) >= 2)  # one on each worker

    def finish():
        go.touch()
        thread.join(WAIT_S)
        return results, ran.read_text().split()

    yield finish
    finish()


def test_work_is_shared_by_the_executors_of_both_workers(cluster, job):
    results, ran = job()
    assert results == [56] and sorted(map(int, ran)) == list(range(8))


def test_what_was_lost_with_an_executor_is_computed_again(cluster, job):
    victim = cluster.nodes[0]
    (lost,) = victim.executors
    victim.kill_executors()
    until(lambda: victim.executors and lost not in victim.executors)
    results, ran = job()
    assert results == [56] and len(ran) > 8, "some of it ran twice"


def test_what_was_lost_with_a_worker_is_computed_again_and_the_worker_comes_back(cluster, job):
    victim = cluster.nodes[1]
    victim.kill()
    results, ran = job()
    assert results == [56] and len(ran) > 8
    with pytest.raises(ServiceError, match="not running"):
        victim.kill_executors()
    victim.restart()
    until(lambda: victim.executors)


def test_a_frozen_worker_is_missed_and_known_again_when_it_goes_on(cluster):
    node = cluster.nodes[0]

    def known():
        try:
            cluster._probe(node, 5.0)
        except spark.NotYet:
            return False
        return True

    node.pause()
    until(lambda: not known())
    node.resume()
    until(known)


def test_there_is_one_session(cluster):
    assert cluster.session() is cluster.session()
    with Spark(nodes=1) as second, pytest.raises(ServiceError, match="already"):
        second.session()
    assert cluster.leader() is cluster.master and cluster.url == cluster.urls[0] == cluster.master.url
    with pytest.raises(ServiceError, match="has no executor"):
        cluster.master.kill_executors()


def test_it_leaves_nothing(cluster):
    from pyspark import SparkContext

    driver, directory = SparkContext._gateway.proc, cluster._directory
    cluster.stop()
    assert driver.poll() is not None and SparkContext._gateway is None
    assert not directory.exists() and cluster not in running_services()


def test_a_java_that_was_cut_down_is_not_enough(monkeypatch):
    monkeypatch.setattr(spark, "_is_complete", lambda path: False)
    with pytest.raises(SetupError, match="complete Java 17 to 25") as caught:
        spark.complete_java()
    assert java.install_line() in caught.value.do
    monkeypatch.setattr(java, "_all", lambda: iter([java.Java("/old/java", "11.0.2", "PATH")]))
    with pytest.raises(SetupError, match="complete Java") as caught:
        spark.complete_java()
    assert "no Java of that age" in caught.value.cause
