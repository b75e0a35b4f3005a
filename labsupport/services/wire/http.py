"""One HTTP/1.0 request with a JSON answer; the server closes the connection, so the answer ends where the stream ends."""

from __future__ import annotations

import json

from labsupport.services.wire import NotYet, connect


def request(port: int, path: str, body: dict | None = None, *, timeout_s: float = 0.2, host: str = "127.0.0.1") -> dict:
    """GET `path`, or POST `body` to it when there is one; any status but 200 raises `NotYet`."""
    payload = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {len(payload)}\r\n\r\n"
    with connect(port, timeout_s, host) as connection:
        connection.sendall(head.encode() + payload)
        with connection.makefile("rb") as answer:
            status, _, content = answer.read().partition(b"\r\n")
    if b" 200" not in status:
        raise NotYet((status + content[-200:]).decode(errors="replace"))
    return json.loads(content.partition(b"\r\n\r\n")[2])
