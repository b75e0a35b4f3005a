"""Cassandra's protocol, version 4: one question, one answer.

https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec
"""

from __future__ import annotations

import struct

from labsupport.services.wire import NotYet, connect

STARTUP, READY, QUERY, RESULT = 0x01, 0x02, 0x07, 0x08  # kinds of messages
ONE, QUORUM, ALL = 0x01, 0x04, 0x05  # consistency levels
ROWS = 2  # a kind of result
SKIP_METADATA, NO_METADATA = 0x02, 0x04  # flags: leave out the names and types of the columns; they are left out


def query(
    port: int, text: str, *, consistency: int = ONE, timeout_s: float = 0.5, host: str = "127.0.0.1"
) -> list[list[bytes | None]]:
    """Open a connection and ask one question; its rows, each a list of columns as bytes.

    Raises:
        NotYet: the answer is an error.
    """
    with connect(port, timeout_s, host) as connection, connection.makefile("rb") as answers:

        def call(kind: int, body: bytes) -> tuple[int, bytes]:
            connection.sendall(struct.pack(">BBhBi", 4, 0, 1, kind, len(body)) + body)
            head = answers.read(9)
            if len(head) < 9:
                raise EOFError("the connection was closed")
            _version, _flags, _stream, answered, size = struct.unpack(">BBhBi", head)
            return answered, answers.read(size)

        answered, body = call(STARTUP, struct.pack(">h", 1) + _short("CQL_VERSION") + _short("3.0.0"))
        if answered == READY:
            words = struct.pack(">i", len(text.encode())) + text.encode()
            answered, body = call(QUERY, words + struct.pack(">HB", consistency, SKIP_METADATA))
    if answered != RESULT:
        raise NotYet(body[6:].decode(errors="replace") or f"message {answered}")
    return _rows(body)


def _rows(body: bytes) -> list[list[bytes | None]]:
    if struct.unpack_from(">i", body) != (ROWS,):
        return []  # nothing was asked for
    flags, columns = struct.unpack_from(">ii", body, 4)
    if not flags & NO_METADATA:
        raise NotYet("it sent what was not asked for")
    (count,) = struct.unpack_from(">i", body, 12)
    at, cells = 16, []
    for _ in range(count * columns):
        (size,) = struct.unpack_from(">i", body, at)
        at += 4
        cells.append(body[at : at + size] if size >= 0 else None)
        at += max(size, 0)
    return [cells[first : first + columns] for first in range(0, len(cells), columns)]


def _short(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
