"""ZooKeeper: what a lesson does with it, through the client library that it uses."""

from __future__ import annotations

import contextlib

import kazoo.exceptions
import pytest
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

from labsupport.errors import ServiceError
from labsupport.services import ZooKeeper, broken
from labsupport.services.wire import NotYet
from labsupport.services.wire import zookeeper as wire
from tests.services.owners import listeners_of, until


@contextlib.contextmanager
def client(hosts, **options):
    connection = KazooClient(hosts, timeout=5, **options)
    connection.start(timeout=30)
    try:
        yield connection
    finally:
        connection.stop()
        connection.close()


def at(node):
    return f"127.0.0.1:{node.port}"


@pytest.fixture(scope="module")
def single():
    with ZooKeeper() as service:
        yield service


@pytest.fixture(scope="module")
def ensemble():
    with ZooKeeper(nodes=3) as service:
        yield service


def test_it_is_ready_on_entry_and_its_tree_is_untouched(single):
    assert single.url == f"zookeeper://127.0.0.1:{single.port}" and single.hosts == f"127.0.0.1:{single.port}"
    with client(single.hosts) as session:
        assert session.get_children("/") == ["zookeeper"]
        assert session.create("/first-", sequence=True) == "/first-0000000000", "nobody has created anything before"
        session.create("/kept", b"1")
        session.set("/kept", b"2", version=0)
        with pytest.raises(kazoo.exceptions.BadVersionError):
            session.set("/kept", b"3", version=0)
        assert session.get("/kept")[0] == b"2"


def test_what_was_acknowledged_survives_a_kill_and_a_restart(single):
    with client(single.hosts) as session:
        session.create("/survives", b"yes")
    port = single.port
    single.nodes[0].kill()
    single.nodes[0].restart()
    with client(single.hosts) as session:
        assert (single.port, session.get("/survives")[0]) == (port, b"yes")


def test_a_frozen_server_answers_when_it_goes_on(single):
    with client(single.hosts) as session:
        single.nodes[0].pause()
        with pytest.raises(KazooTimeoutError) as caught:
            session.get_async("/").get(timeout=0.3)
        shown = broken.explanation(caught.value, {"zookeeper": single})
        assert "zookeeper-0 of ZooKeeper is frozen" in shown.what and "zookeeper.nodes[0].resume()" in shown.do
        single.nodes[0].resume()
        assert session.retry(session.exists, "/zookeeper")


def test_one_that_somebody_else_runs_is_used_and_left_alone(single, monkeypatch):
    monkeypatch.setenv("LAB_ZOOKEEPER_URL", single.url)
    with ZooKeeper() as other:
        assert other.url == single.url
        with pytest.raises(ServiceError, match="not ours"):
            other.nodes[0].kill()
    assert single.nodes[0].state == "running"


def test_a_single_server_leads_itself(single):
    assert single.leader() is single.nodes[0]


def test_it_listens_on_the_loopback_interface_only(ensemble):
    listeners = listeners_of(ensemble._directory)
    assert len(listeners) >= 7 and all(each.startswith("127.0.0.1:") for each in listeners), listeners


def test_a_killed_leader_is_replaced_and_nothing_is_lost(ensemble):
    first = ensemble.leader()
    with client(ensemble.hosts) as session:
        session.create("/before", b"the election")
        first.kill()
        second = ensemble.leader(timeout_s=30)
        assert second is not first
        assert session.retry(session.get, "/before")[0] == b"the election"
        session.retry(session.create, "/meanwhile", b"without the first")
    first.restart()
    with client(at(first)) as session:
        session.sync("/")
        assert session.get("/meanwhile")[0] == b"without the first"


def test_a_frozen_leader_is_replaced_although_it_does_not_know(ensemble):
    first = ensemble.leader()
    with client(ensemble.hosts) as session:
        session.create("/acknowledged")
    first.pause()
    second = ensemble.leader(timeout_s=30)
    assert second is not first
    with client(at(second)) as session:
        assert session.exists("/acknowledged")
    first.resume()
    assert ensemble.leader(timeout_s=30) is not first


def test_what_a_dead_client_held_is_released_when_its_session_ends(ensemble):
    with client(ensemble.hosts) as watcher:
        with client(ensemble.hosts) as holder:
            holder.create("/lock", ephemeral=True)
            assert watcher.exists("/lock")
        watcher.sync("/")
        assert watcher.exists("/lock") is None


def test_without_a_majority_nobody_leads_and_a_server_still_restarts(ensemble):
    with client(ensemble.hosts) as session:
        session.ensure_path("/kept")
    for node in ensemble.nodes:
        node.kill()
    with pytest.raises(ServiceError, match="no leader"):
        ensemble.leader(timeout_s=0.3)
    ensemble.nodes[2].restart()  # alone it can serve nobody, but it waits for the others
    ensemble.nodes[0].restart()
    ensemble.nodes[1].restart()
    ensemble.leader(timeout_s=30)
    with client(ensemble.hosts) as session:
        assert session.exists("/kept")


def test_a_leader_that_is_cut_off_is_replaced_and_serves_nobody():
    with ZooKeeper(nodes=3, partitions=True) as service:
        first = service.leader()
        service.partition([[first]])
        until(lambda: service.leader(timeout_s=60) is not first, limit_s=60)
        with client(at(service.leader(timeout_s=60))) as session:
            session.create("/during", b"the partition")
        until(lambda: not serves(first), limit_s=60)
        service.heal()
        until(lambda: serves(first), limit_s=60)
        with client(at(first)) as session:
            session.sync("/")
            assert session.get("/during")[0] == b"the partition"


def test_a_server_that_restarts_during_a_partition_stays_behind_it():
    with ZooKeeper(nodes=3, partitions=True) as service:
        lonely = service.nodes[0]  # the others call it, as it has the lowest number
        service.partition([[lonely]])
        lonely.kill()
        lonely._launch()  # `restart` waits until it serves, and it cannot
        until(lambda: lonely.state == "running" and not serves(lonely), limit_s=60)
        service.heal()
        until(lambda: serves(lonely), limit_s=60)


def serves(node):
    """Whether a session with a server comes about: most servers have to agree to it."""
    try:
        wire.session(node.port, 2.0)
    except (OSError, EOFError, NotYet):
        return False
    return True
