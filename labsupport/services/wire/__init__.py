"""The smallest part of each protocol that proves that a service answers, over a plain socket.

A client library would cost more to import than most services take to start, and its retries would hide the moment at
which a service begins to answer.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator


class NotYet(Exception):
    """The service answered, but not (yet) with what was hoped for."""


def connect(port: int, timeout_s: float, host: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection((host, port), timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def patience(first_s: float = 0.02, most_s: float = 1.0) -> Iterator[float]:
    """Timeouts for one attempt after another: short at first, then a tenth of the time that has passed.

    Some services do not refuse a request that comes too early but never answer it, so a long timeout would become the
    time of the start; on a busy machine a short one would never be enough. So at most a tenth of the time is lost.
    """
    began = time.monotonic()
    while True:
        yield min(max(first_s, 0.1 * (time.monotonic() - began)), most_s)
