"""What the nodes of a service say of themselves: role, term or epoch, how long their log is and how far it lags."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from labsupport.errors import ServiceError
from labsupport.services.node import Foreign, Node
from labsupport.services.wire import NotYet, cql, http, kafka, resp, zookeeper

if TYPE_CHECKING:
    from labsupport.services.base import Service


class Vitals(NamedTuple):
    """One node; what its system has no word for is empty.

    Attributes:
        role: "leader", "follower", "primary" and so on.
        era: the term or epoch that it is in, or something as telling, in words.
        length: of its log, in the system's own unit.
        lag: how much shorter that is than the longest.
    """

    role: str = ""
    era: str = ""
    length: int | None = None
    lag: int = 0


def vitals(service: Service) -> dict[str, Vitals]:
    """Ask every running node of a service of ours; who does not answer is left out."""
    ask = _ASK.get(service.system)
    if ask is None or isinstance(service.nodes[0], Foreign):
        return {}
    found = {name: one for answer in service._answers(lambda node: ask(service, node)) for name, one in answer.items()}
    longest = max((one.length or 0 for one in found.values()), default=0)
    return {name: one._replace(lag=0 if one.length is None else longest - one.length) for name, one in found.items()}


def _of_etcd(service: Service, node: Node) -> dict[str, Vitals]:
    status = http.request(node.port, "/v3/maintenance/status", {})
    leads = status.get("leader") == status["header"]["member_id"]
    return {node.name: Vitals(_role(leads), f"term {status['raftTerm']}", int(status["raftIndex"]))}


def _of_nats(service: Service, node: Node) -> dict[str, Vitals]:
    """The group of all servers, which decides where streams live."""
    if service.size == 1:
        return {}
    group = service.monitor("/raftz", node)["$SYS"]["_meta_"]
    return {node.name: Vitals(group["state"].lower(), f"term {group['term']}", group["pindex"])}


def _of_kafka(service: Service, node: Node) -> dict[str, Vitals]:
    """The controller that leads knows the logs of all."""
    quorum = kafka.quorum(service._controllers[service._nodes.index(node)])
    return {
        each.name: Vitals(_role(number == quorum.leader), f"epoch {quorum.epoch}", quorum.log_ends[number])
        for number, each in enumerate(service._nodes, 1)
        if each.state == "running" and number in quorum.log_ends
    }


def _of_zookeeper(service: Service, node: Node) -> dict[str, Vitals]:
    state = zookeeper.command(node.port, "srvr")
    if "Mode" not in state:
        return {node.name: Vitals("alone")}
    number = int(state["Zxid"], 16)  # the epoch, and the count of changes in it
    return {node.name: Vitals(state["Mode"], f"epoch {number >> 32}", number & 0xFFFFFFFF)}


def _of_redis(service: Service, node: Node) -> dict[str, Vitals]:
    with resp.Resp(node.port, service.password) as client:
        told = client.call("INFO", "replication")
        slots = "cluster_enabled:1" in client.call("INFO", "cluster")
    said = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    primary = said["role"] == "master"
    if slots:  # each has a log of its own
        return {node.name: Vitals("primary")}
    era = "" if primary or said["master_link_status"] == "up" else "hears no primary"
    return {node.name: Vitals("primary" if primary else "replica", era, int(said["master_repl_offset"]))}


def _of_rabbitmq(service: Service, node: Node) -> dict[str, Vitals]:
    """Each quorum queue has a leader of its own."""
    from labsupport.services.rabbitmq import QUORUM_QUEUES

    try:
        states = re.findall(r'"[0-9a-f]*", *(\w+)', service._ask(node, QUORUM_QUEUES, timeout_s=1.0))
    except ServiceError as error:
        raise NotYet(str(error)) from None
    return {node.name: Vitals("", f"leads {states.count('leader')} of {len(states)} quorum queues" if states else "")}


def _of_cassandra(service: Service, node: Node) -> dict[str, Vitals]:
    known = cql.query(node.port, "SELECT native_port FROM system.peers_v2")
    return {node.name: Vitals("", f"knows {len(known)} others")}


def _role(leads: bool) -> str:
    return "leader" if leads else "follower"


_ASK: dict[str, Callable[[Service, Node], dict[str, Vitals]]] = {
    "etcd": _of_etcd,
    "nats": _of_nats,
    "kafka": _of_kafka,
    "zookeeper": _of_zookeeper,
    "redis": _of_redis,
    "rabbitmq": _of_rabbitmq,
    "cassandra": _of_cassandra,
}
