"""Kafka's protocol (https://kafka.apache.org/protocol): who is in the cluster, and who leads what."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from labsupport.services.wire import NotYet, connect

METADATA, VERSIONS, DESCRIBE_QUORUM = 3, 18, 55  # the numbers of the requests
QUORUM_TOPIC = b"__cluster_metadata"


@dataclass(frozen=True)
class Metadata:
    """What a broker knows of the cluster: its identity, the ports of the brokers by their numbers, and for each
    partition of the topics that were asked for, by (topic, partition), the epoch and the number of its leader (-1 while
    it has none), and the numbers of the replicas that are in sync."""

    cluster: str
    brokers: dict[int, int]
    leaders: dict[tuple[str, int], tuple[int, int]]
    in_sync: dict[tuple[str, int], list[int]]


def metadata(port: int, *topics: str, timeout_s: float = 0.3, host: str = "127.0.0.1") -> Metadata:
    """Ask a broker what it knows of the cluster and of some topics."""
    named = b"".join(_string(topic) for topic in topics)
    answer = _ask(port, METADATA, 7, struct.pack(">i", len(topics)) + named + b"\0", timeout_s, host)
    answer.number("i")  # how long it makes us wait
    brokers = {}
    for _ in range(answer.number("i")):
        broker, _host, brokers[broker], _rack = answer.number("i"), answer.string(), answer.number("i"), answer.string()
    found = Metadata(answer.string(), brokers, {}, {})
    answer.number("i")  # a broker that passes on what is for the controller, not the controller itself
    for _ in range(answer.number("i")):
        _error, topic, _internal = answer.number("h"), answer.string(), answer.number("b")
        for _ in range(answer.number("i")):
            _error, where = answer.number("h"), (topic, answer.number("i"))
            leader, epoch = answer.number("i"), answer.number("i")
            found.leaders[where] = epoch, leader
            _replicas, found.in_sync[where], _offline = answer.numbers(), answer.numbers(), answer.numbers()
    return found


def versions(port: int, *, timeout_s: float = 0.3) -> None:
    """Ask a broker or a controller which requests it understands: each answers that as soon as it answers at all."""
    _ask(port, VERSIONS, 0, b"", timeout_s)


@dataclass(frozen=True)
class Quorum:
    """The controllers as their leader sees them: its epoch and number, and the length of each one's log by number."""

    epoch: int
    leader: int
    log_ends: dict[int, int]


def controller(port: int, *, timeout_s: float = 0.3) -> tuple[int, int]:
    """Ask a controller who leads: the epoch and the number of the leader. Only the leader itself answers."""
    found = quorum(port, timeout_s=timeout_s)
    return found.epoch, found.leader


def quorum(port: int, *, timeout_s: float = 0.3) -> Quorum:
    """Ask the controller that leads about all; the others do not answer."""
    one = b"\x02"  # "compact" arrays and strings begin with their length plus one; each record ends with 0, "no tags"
    name = struct.pack(">b", len(QUORUM_TOPIC) + 1) + QUORUM_TOPIC
    answer = _ask(
        port, DESCRIBE_QUORUM, 0, one + name + one + struct.pack(">i", 0) + b"\0\0\0", timeout_s, compact=True
    )
    error, topics = answer.number("h"), answer.number("b")
    if error or topics != 2:
        raise NotYet(f"error {error} about the controllers")
    answer.skip(answer.number("b") - 1)  # the name of the topic
    partitions, _partition, error = answer.number("b"), answer.number("i"), answer.number("h")
    if error or partitions != 2:
        raise NotYet(f"error {error} about the controllers")
    leader, epoch, _committed = answer.number("i"), answer.number("i"), answer.number("q")
    log_ends = {}
    for _ in range(answer.number("b") - 1):
        voter, log_ends[voter], _tags = answer.number("i"), answer.number("q"), answer.number("b")
    return Quorum(epoch, leader, log_ends)


class _Answer:
    """The bytes of an answer, read from the front."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f">{kind}", self._body, self._at)
        self._at += struct.calcsize(kind)
        return value

    def numbers(self) -> list[int]:
        return [self.number("i") for _ in range(self.number("i"))]

    def string(self) -> str:
        size = max(self.number("h"), 0)
        self._at += size
        return self._body[self._at - size : self._at].decode()

    def skip(self, size: int) -> None:
        self._at += size


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


def _ask(
    port: int, kind: int, version: int, body: bytes, timeout_s: float, host: str = "127.0.0.1", *, compact: bool = False
) -> _Answer:
    request = struct.pack(">hhi", kind, version, 1) + _string("lab") + b"\0" * compact + body
    with connect(port, timeout_s, host) as connection, connection.makefile("rb") as file:
        connection.sendall(struct.pack(">i", len(request)) + request)
        size = file.read(4)
        answer = file.read(struct.unpack(">i", size)[0]) if len(size) == 4 else b""
    if len(answer) < 8:
        raise EOFError("the connection was closed")
    return _Answer(answer[5 if compact else 4 :])  # behind the number of the request
