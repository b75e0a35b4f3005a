"""The smallest part of each protocol that proves that a service answers, over a plain socket.

A client library would cost more to import than most services take to start, and its retries would hide the moment at which
a service begins to answer.
"""

from __future__ import annotations

import socket


class NotYet(Exception):
    """The service answered, but not (yet) with what was hoped for."""


def connect(port: int, timeout_s: float, host: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection((host, port), timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
