"""Cassandra: what a lesson does with it, through the client library that it uses."""

from __future__ import annotations

import contextlib

import cassandra
import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy
from cassandra.query import SimpleStatement

from labsupport.errors import ServiceError, SetupError
from labsupport.services import Cassandra, Redis, broken, running_services, start_all
from labsupport.services import cassandra as service_module
from labsupport.services.wire import NotYet, cql
from tests.services.owners import listeners_of, until

ONE, QUORUM, ALL = ConsistencyLevel.ONE, ConsistencyLevel.QUORUM, ConsistencyLevel.ALL


@contextlib.contextmanager
def session(service):
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=60)
    cluster = Cluster(
        service.contact_points,
        protocol_version=5,
        connect_timeout=30,
        control_connection_timeout=30,
        max_schema_agreement_wait=60,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def table(client, name, copies):
    strategy = f"{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}"
    client.execute(f"CREATE KEYSPACE {name} WITH replication = {strategy}")
    client.execute(f"CREATE TABLE {name}.t (k text PRIMARY KEY, v text)")
    return f"{name}.t"


def at(level, text):
    return SimpleStatement(text, consistency_level=level, serial_consistency_level=ConsistencyLevel.SERIAL)


@pytest.fixture(scope="module")
def ring():
    with Cassandra(nodes=3) as service:
        yield service


def test_a_single_node_is_ready_on_entry_and_keeps_what_it_acknowledged(monkeypatch):
    with Cassandra() as service:
        with session(service) as client:
            name = table(client, "kept", 1)
            client.execute(f"INSERT INTO {name} (k, v) VALUES ('a', '1')")
        service.nodes[0].kill()
        service.nodes[0].restart()
        with session(service) as client:
            assert client.execute(f"SELECT v FROM {name} WHERE k = 'a'").one().v == "1"
        monkeypatch.setenv("LAB_CASSANDRA_URL", service.url)
        with Cassandra() as other:  # one that somebody else runs
            assert other.url == service.url


def test_it_listens_on_the_loopback_interface_only(ring):
    listeners = listeners_of(ring._directory)
    assert len(listeners) >= 6 and all(each.startswith("127.0.0.1:") for each in listeners), listeners


def test_what_starts_beside_it_waits_until_its_nodes_pause(monkeypatch):
    ring, store = Cassandra(nodes=3), Redis()
    plan, found = store._plan, []

    def watched():
        found.append((ring.ready_ms, listeners_of(ring._directory)))
        return plan()

    monkeypatch.setattr(store, "_plan", watched)
    try:
        start_all(store, ring)
        [(ready_ms, listeners)] = found
        assert ready_ms is None and {f"127.0.0.1:{peer}" for peer in ring._peers} <= set(listeners)
    finally:
        store.stop()
        ring.stop()


def test_nothing_waits_for_one_that_does_not_start(monkeypatch):
    monkeypatch.setattr(Cassandra, "heap_mb", 10**9)
    store = Redis()
    with pytest.raises(SetupError, match="memory"):
        start_all(store, Cassandra(nodes=3))
    assert store.ready_ms is not None and store not in running_services()


def test_nodes_that_start_together_do_not_forget_each_other(ring):
    for node in ring.nodes:
        log = node.logs(1000)
        assert log.count("is now part of the cluster") == 2 and "removing from gossip" not in log, log


def test_every_node_has_its_share_and_a_majority_does_without_one(ring):
    with session(ring) as client:
        name = table(client, "orders", 3)
        client.execute(at(ALL, f"INSERT INTO {name} (k, v) VALUES ('a', 'before')"))
        ring.nodes[1].kill()
        # The others take it for alive until they miss its gossip, and wait for it in vain as long as that.
        write = at(QUORUM, f"INSERT INTO {name} (k, v) VALUES ('a', 'meanwhile')")
        until(lambda: _done(client, write), limit_s=60)
        assert client.execute(at(QUORUM, f"SELECT v FROM {name} WHERE k = 'a'")).one().v == "meanwhile"
        with pytest.raises((cassandra.Unavailable, cassandra.WriteTimeout)) as caught:
            client.execute(at(ALL, f"INSERT INTO {name} (k, v) VALUES ('a', 'all')"))
        shown = broken.explanation(caught.value, {"ring": ring})
        assert "cassandra-1 of Cassandra does not run" in shown.what and "ring.nodes[1].restart()" in shown.do
        ring.nodes[1].restart()
        until(lambda: _done(client, at(ALL, f"SELECT v FROM {name} WHERE k = 'a'")), limit_s=60)


def test_of_two_who_set_it_if_it_is_not_there_one_does(ring):
    with session(ring) as client:
        name = table(client, "locks", 3)
        tries = [at(QUORUM, f"INSERT INTO {name} (k, v) VALUES ('lock', '{who}') IF NOT EXISTS") for who in "ab"]
        assert [client.execute(each).one().applied for each in tries] == [True, False]


def test_a_frozen_node_is_done_without_and_answers_when_it_goes_on(ring):
    with session(ring) as client:
        name = table(client, "frozen", 3)
        ring.nodes[2].pause()
        write = at(QUORUM, f"INSERT INTO {name} (k, v) VALUES ('a', '1')")
        until(lambda: _done(client, write), limit_s=60)
        ring.nodes[2].resume()
        until(lambda: _done(client, at(ALL, f"SELECT v FROM {name} WHERE k = 'a'")), limit_s=60)


def test_nobody_leads(ring):
    with pytest.raises(ServiceError, match="no leader"):
        ring.leader()


def test_a_node_that_is_cut_off_takes_what_one_copy_is_enough_for_and_all_meet_afterwards():
    with Cassandra(nodes=3, partitions=True) as service:
        with session(service) as client:  # which waits until all know of the table
            table(client, "parted", 3)
        lonely, other = service.nodes[0], service.nodes[1]
        service.partition([[lonely]])
        write = "INSERT INTO parted.t (k, v) VALUES ('%s', '1')"
        until(lambda: _written(lonely, write % "small", cql.ONE), limit_s=60)
        until(lambda: _written(other, write % "large", cql.QUORUM), limit_s=60)
        assert not _written(lonely, write % "refused", cql.QUORUM)
        cql.query(other.port, "CREATE TABLE parted.meanwhile (k text PRIMARY KEY)", timeout_s=60)
        service.heal()
        until(lambda: _written(lonely, write % "after", cql.ALL), limit_s=60)
        for node in service.nodes:
            read = cql.query(node.port, "SELECT k FROM parted.t", consistency=cql.ALL, timeout_s=30)
            assert {b"small", b"large", b"after"} <= {row[0] for row in read}
        until(lambda: _written(lonely, "SELECT k FROM parted.meanwhile", cql.ONE), limit_s=60)


def test_a_machine_without_a_second_loopback_address_is_told_how_to_get_one(monkeypatch):
    monkeypatch.setattr(service_module, "BEHIND", "192.0.2.1")  # an address for books, which nobody has
    with pytest.raises(SetupError, match="cannot be cut off") as caught:
        Cassandra(nodes=3, partitions=True).start()
    assert "ifconfig lo0 alias" in caught.value.do


def _written(node, text, level):
    with contextlib.suppress(OSError, EOFError, NotYet):
        cql.query(node.port, text, consistency=level, timeout_s=5)
        return True
    return False


def _done(client, statement):
    with contextlib.suppress(cassandra.DriverException, cassandra.cluster.NoHostAvailable):
        client.execute(statement, timeout=10)
        return True
    return False
