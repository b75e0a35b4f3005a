"""One HTTP request with a JSON answer."""

from __future__ import annotations

import json

from labsupport.services.wire import NotYet, connect


def request(
    port: int,
    path: str,
    body: dict | None = None,
    *,
    timeout_s: float = 0.2,
    host: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
) -> dict:
    """GET `path`, or POST `body` to it when there is one; any status but 200 raises `NotYet`.

    It speaks HTTP/1.0, so that no answer is cut into chunks. It does not wait for the server to close the connection:
    etcd takes half a second for that.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.0", f"Host: {host}", f"Content-Length: {len(payload)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = "\r\n".join([*lines, "", ""])
    with connect(port, timeout_s, host) as connection:
        connection.sendall(head.encode() + payload)
        with connection.makefile("rb") as answer:
            status, size = answer.readline(), None
            while (line := answer.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            content = answer.read() if size is None else answer.read(size)
    if b" 200" not in status:
        raise NotYet((status.strip() + b" " + content[-200:]).decode(errors="replace"))
    return json.loads(content)
