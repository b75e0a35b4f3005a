"""ZooKeeper's protocol: a session and a question, and its commands of four letters.

The records are those of zookeeper.jute in its source; the commands are in
https://zookeeper.apache.org/doc/r3.9.5/zookeeperAdmin.html#sc_zkCommands.
"""

from __future__ import annotations

import struct

from labsupport.services.wire import NotYet, connect

EXISTS, SYNC, CLOSE = 3, 9, -11
SESSION_MS = 4000


def session(port: int, timeout_s: float, host: str = "127.0.0.1") -> None:
    """Open a session, to which most servers must agree, read through the leader, and close it; the tree stays as is."""
    with connect(port, timeout_s, host) as connection, connection.makefile("rb") as answers:

        def call(body: bytes) -> bytes:
            connection.sendall(struct.pack(">i", len(body)) + body)
            return _read(answers)

        hello = call(struct.pack(">iqiqi16s?", 0, 0, SESSION_MS, 0, 16, b"", False))
        _protocol, granted_ms, _identity = struct.unpack_from(">iiq", hello)
        if granted_ms <= 0:
            raise NotYet("it refused a session")
        root = struct.pack(">i1s", 1, b"/")
        for number, (kind, body) in enumerate([(SYNC, root), (EXISTS, root + b"\0"), (CLOSE, b"")], start=1):
            _number, _change, error = struct.unpack_from(">iqi", call(struct.pack(">ii", number, kind) + body))
            if error:
                raise NotYet(f"it answered with error {error}")


def command(port: int, word: str, timeout_s: float = 0.3, host: str = "127.0.0.1") -> dict[str, str]:
    """The answer to a command of four letters, "srvr" or "conf": name -> value."""
    with connect(port, timeout_s, host) as connection:
        connection.sendall(word.encode())
        with connection.makefile("rb") as answer:
            text = answer.read().decode(errors="replace")
    if not text:
        raise EOFError("the connection was closed")
    pairs = (line.partition("=" if word == "conf" else ":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(file) -> bytes:
    size = file.read(4)
    body = file.read(struct.unpack(">i", size)[0]) if len(size) == 4 else b""
    if not body:
        raise EOFError("the connection was closed")
    return body
