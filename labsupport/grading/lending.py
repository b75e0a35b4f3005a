"""Servers that a grading process keeps from one check to the next.

RabbitMQ takes a second of processor time to start, more than most checks. NATS, Redis and gRPC's servers take a
hundredth of that, so each check has new ones, which know nothing of anybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from labsupport.errors import ServiceError
from labsupport.services import Service


class Servers:
    """Lends servers to one check at a time; use it as a context manager."""

    def __init__(self) -> None:
        self._kept: dict[type[Service], Service] = {}

    @contextlib.contextmanager
    def lend(self, kind: type[Service]) -> Iterator[Service]:
        """A server that runs. The check works in a namespace that ends with it, and may kill and restart the server.

        One that the check leaves dead, or that a ServiceError was about, is not lent again.
        """
        server = self._kept.pop(kind, None) or kind().start()
        is_sound = True
        try:
            yield server
        except ServiceError:
            is_sound = False
            raise
        finally:
            if is_sound and server.nodes[0].state == "running":
                self._kept[kind] = server
            else:
                server.stop()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._kept.values():
            server.stop()
