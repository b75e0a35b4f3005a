"""Servers for checks, kept in bounds, and those that a grading process keeps from one check to the next.

RabbitMQ takes a second of processor time to start, more than most checks. NATS, Redis and gRPC's servers take a
hundredth of that, so each check has new ones, which know nothing of anybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from labsupport.errors import ServiceError
from labsupport.exercises.checking import Decided
from labsupport.history import Outcome
from labsupport.repeating import every
from labsupport.services import Service
from labsupport.services.footprint import footprint_mb

MOST_MB = 600  # memory and files of a server; RabbitMQ needs 150 for a check, all others less
LOOK_S = 0.5  # in which a flood brings half of that


class Servers:
    """Lends servers to one check at a time; use it as a context manager."""

    def __init__(self) -> None:
        self._kept: dict[type[Service], Service] = {}

    @contextlib.contextmanager
    def lend(self, kind: type[Service]) -> Iterator[Service]:
        """A server that runs. The check may kill and restart it, and where it has namespaces works in one of its own.

        One with namespaces is lent again, unless the check leaves it dead or large, or a ServiceError was about it.

        Raises:
            Decided: the answer has filled the server, which is killed then.
        """
        server = self._kept.pop(kind, None)
        if server and server.nodes[0].state != "running":  # it died while nobody had it
            server.stop()
            server = None
        server = server or kind().start()
        is_sound, filled_mb = True, 0.0

        def look() -> None:
            nonlocal filled_mb
            if (size_mb := footprint_mb(server)) > MOST_MB:
                filled_mb = size_mb
                with contextlib.suppress(ServiceError):  # it has ended meanwhile
                    server.nodes[0].kill()

        try:
            with every(LOOK_S, look):
                yield server
        except ServiceError:
            is_sound = False
            raise
        finally:
            runs = server.nodes[0].state == "running"
            if is_sound and runs and hasattr(kind, "namespace") and footprint_mb(server) < MOST_MB / 2:
                self._kept[kind] = server
            else:
                server.stop()
            if filled_mb:
                raise Decided(
                    Outcome.FAIL, f"your code has filled {server.title} with {filled_mb:.0f} MB, without an end"
                )

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._kept.values():
            server.stop()
