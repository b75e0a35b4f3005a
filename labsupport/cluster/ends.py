"""Who sends and receives in a cluster: nodes, clients and services, and the ways between them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labsupport.cluster.process import Process
from labsupport.cluster.services import Service
from labsupport.faults import Link

if TYPE_CHECKING:
    from labsupport.cluster.router import Router

_NO_FAULT = Link(delay_ms=0, least_ms=0, distribution="constant")

read = json.JSONDecoder().decode


def write(body: Any) -> bytes:
    """JSON as it goes over the wire, without its newline."""
    return json.dumps(body, separators=(",", ":")).encode()


class Way:
    """One direction between two ends: its rule, its own stream of random numbers, and what it has carried."""

    __slots__ = ("between_nodes", "direct", "random", "received", "rule", "sent", "source", "target")

    def __init__(self, source: End, target: End, rule: Link, seed: int) -> None:
        self.source, self.target = source, target
        self.between_nodes = not (source.client or target.client)
        self.random = random.Random(f"{seed}/link/{source.name}/{target.name}")
        self.sent = self.received = 0
        self.follow(rule if self.between_nodes else _NO_FAULT)

    def follow(self, rule: Link) -> None:
        """Take a rule from now on."""
        self.rule = rule
        self.direct = not (rule.delay_ms or rule.least_ms or rule.loss or rule.duplicate or rule.straggle)


class End:
    """Whoever sends and receives: a node, a client, a service."""

    def __init__(self, name: str, *, client: bool = False) -> None:
        self.name, self.client = name, client
        self.ways: dict[str, Way] = {}
        self.up, self.paused, self.ready = True, False, True
        self.sent = 0  # since the nemesis has last asked who is busy
        self.backlog: list[tuple[Way, tuple]] = []

    def receive(self, line: bytes) -> None:
        """Take a message that has arrived."""


class Mailbox(End):
    """A client's end: its messages go to a function, in the router's thread."""

    def __init__(self, name: str, receive: Callable[[dict], None]) -> None:
        super().__init__(name, client=True)
        self._receive = receive

    def receive(self, line: bytes) -> None:
        self._receive(read(line.decode()))


class ServiceEnd(End):
    """The end of a service, which answers in the router's thread."""

    def __init__(self, router: Router, name: str) -> None:
        super().__init__(name)
        self._router, self._service = router, Service(name, router.seed)

    def receive(self, line: bytes) -> None:
        message = read(line.decode())
        client = message.get("src")
        answer = {"src": self.name, "dest": client, "body": self._service.handle(client, message["body"])}
        self._router.take(self, write(answer))


class NodeEnd(End):
    """A node's end: its present process, if it has one."""

    def __init__(self, router: Router, name: str) -> None:
        super().__init__(name)
        self.up = self.ready = False
        self.process: Process | None = None
        self.log = bytearray()
        self.lives = 0
        self._router = router

    def receive(self, line: bytes) -> None:
        if self.process.write(line):
            self._router.to_flush[self] = None
        else:
            self._router.problems.add(self.name, "full", f"{self.name} does not read: messages to it are lost.")
