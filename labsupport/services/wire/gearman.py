"""Gearman's protocol (https://gearman.org/protocol/): binary packets, and lines of text for administration."""

from __future__ import annotations

import struct

from labsupport.services.wire import NotYet, connect

ECHO_REQ, ECHO_RES = 16, 17
HEAD = struct.Struct(">4sII")  # magic, kind, size of the data


def echo(port: int, timeout_s: float = 0.3, host: str = "127.0.0.1") -> None:
    """Send something and get it back: the way of a job to the server."""
    sent = b"lab"
    with connect(port, timeout_s, host) as connection, connection.makefile("rb") as answers:
        connection.sendall(HEAD.pack(b"\0REQ", ECHO_REQ, len(sent)) + sent)
        head = answers.read(HEAD.size)
        if len(head) < HEAD.size:
            raise EOFError("the connection was closed")
        magic, kind, size = HEAD.unpack(head)
        if (magic, kind) != (b"\0RES", ECHO_RES) or answers.read(size) != sent:
            raise NotYet(f"it answered with {head!r}")


def ask(port: int, command: str, timeout_s: float = 1.0) -> str:
    """The first line that an administrative command is answered with, for example ``OK 1.1.20`` to ``version``."""
    return _lines(port, command, timeout_s, 1)[0]


def status(port: int, timeout_s: float = 1.0) -> dict[str, tuple[int, int, int]]:
    """For each function: jobs in the queue (those that run included), jobs that run, workers that offer it."""
    rows = [line.split("\t") for line in _lines(port, "status", timeout_s)]
    return {name: (int(queued), int(running), int(workers)) for name, queued, running, workers in rows}


def _lines(port: int, command: str, timeout_s: float, count: int | None = None) -> list[str]:
    with connect(port, timeout_s) as connection, connection.makefile("r", encoding="utf-8", newline="\n") as answers:
        connection.sendall(command.encode() + b"\n")
        found: list[str] = []
        while count is None or len(found) < count:
            line = answers.readline()
            if not line.endswith("\n"):
                raise EOFError("the connection was closed")
            if line == ".\n":
                break
            found.append(line.rstrip("\n"))
        return found
