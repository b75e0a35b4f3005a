"""Free ports on the loopback interface, and who holds a port that is not free.

Ports are drawn below the ephemeral range (Linux: from 32768 on). What ``bind(0)`` gives lies in that range, and any
outgoing connection could take it as its own in the moment before the broker binds it.
"""

from __future__ import annotations

import random
import socket
import threading

HOST = "127.0.0.1"
LOWEST, HIGHEST = 20000, 32700
_draw = random.SystemRandom()
_lock = threading.Lock()
_promised: set[int] = set()  # given to a service of this process that may not have bound it yet


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def draw(count: int, *, beside: int = 0) -> list[int]:
    """Draw `count` free ports; give them back with `give_back` when the service is gone.

    Args:
        count: how many.
        beside: a distance at which a second port must be free as well (Redis Cluster's bus: 10000).
    """
    found: list[int] = []
    with _lock:
        while len(found) < count:
            port = _draw.randrange(LOWEST - beside, HIGHEST - beside)
            if port not in _promised and is_free(port) and (not beside or is_free(port + beside)):
                _promised.add(port)
                found.append(port)
    return found


def give_back(ports: list[int]) -> None:
    with _lock:
        _promised.difference_update(ports)


def holder(port: int) -> str:
    """Who listens on a port, as a phrase: "nats-server, process 4711", or "" when that cannot be known."""
    try:
        import psutil

        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}" if connection.pid else ""
    except Exception:  # psutil.Error of several kinds, a missing psutil, no permission: the phrase is a courtesy
        return ""
    return ""
