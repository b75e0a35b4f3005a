"""What a panel sees of real services: role, term, log and memory of each node, and who is cut off from whom."""

from __future__ import annotations

import re
import time

import pytest

from labsupport import Cassandra, Etcd, Kafka, Nats, Panel, RabbitMQ, Redis, ZooKeeper
from labsupport.view.systems import OfService

SAYS = {
    Etcd: r"term \d+, log \d+",
    Nats: r"term \d+, log \d+",
    Kafka: r"epoch \d+, log \d+",
    ZooKeeper: r"follower|epoch \d+, log \d+",
    Redis: r"log \d+",
    RabbitMQ: "",
    Cassandra: r"knows 0 others",
}


def details(panel: Panel, wanted: str, timeout_s: float = 60.0) -> str:
    deadline = time.monotonic() + timeout_s
    while not re.search(wanted, more := panel.rows()[0].more):
        assert time.monotonic() < deadline, more
        time.sleep(0.1)
    return more


@pytest.mark.parametrize("kind", SAYS, ids=lambda kind: kind.__name__)
def test_every_system_has_a_panel_with_what_its_nodes_say_and_hold(kind):
    with kind(nodes=1 if kind in (Cassandra, RabbitMQ) else 3) as service:
        panel = Panel(service)
        assert re.search(r"\b\d+ MiB$", details(panel, SAYS[kind]))
        assert [row.state for row in panel.rows()] == ["running"] * service.size
    assert panel.rows() == []


def test_links_of_a_service_are_offered_only_where_they_can_be_cut():
    with Etcd(nodes=3) as etcd:
        system = OfService(etcd)
        assert not system.has_links and system.everywhere == ()
        assert "cut off" not in system.deeds()


def test_a_leader_whose_links_are_all_cut_is_replaced():
    with Etcd(nodes=3, partitions=True) as etcd:
        panel, first = Panel(etcd), etcd.leader().name
        for node in etcd.nodes:
            if node.name != first:
                panel.system.do("cut or mend", f"{first} – {node.name}")
        assert len(panel.system.cuts) == 4 and f"{first} → " in repr(panel)
        deadline = time.monotonic() + 60
        while etcd.leader(timeout_s=60).name == first:
            assert time.monotonic() < deadline, "the leader that is cut off still leads"
            time.sleep(0.1)
        panel.system.do("heal")
        assert panel.system.cuts == frozenset()
