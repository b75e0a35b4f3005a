"""NATS's client protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol)."""

from __future__ import annotations

import json
import secrets

from labsupport.services.wire import NotYet, connect


class Nats:
    """One connection, logged in; `request` publishes and waits for the one reply."""

    def __init__(
        self, port: int, user: str = "", password: str = "", *, timeout_s: float = 0.1, host: str = "127.0.0.1"
    ):
        self._socket = connect(port, timeout_s, host)
        self._file = self._socket.makefile("rb")
        try:
            self._log_in(user, password)
        except BaseException:
            self.close()
            raise

    def _log_in(self, user: str, password: str) -> None:
        line = self._file.readline()
        if not line.startswith(b"INFO "):
            raise NotYet("no INFO line")
        self.info = json.loads(line[5:])
        if user and not self.info.get("auth_required"):
            raise NotYet("a server that asks for no password is not the one we started")
        options = {"verbose": False, "pedantic": False, "lang": "lab", "version": "1", "protocol": 1, "headers": True}
        options.update({"no_responders": True, "user": user, "pass": password} if user else {"no_responders": True})
        self._inbox = f"_INBOX.{secrets.token_hex(6)}"
        self._sent = 0
        hello = f"CONNECT {json.dumps(options)}\r\nSUB {self._inbox}.* 1\r\nPING\r\n"
        self._socket.sendall(hello.encode())
        while not (line := self._file.readline()).startswith(b"PONG"):
            if not line or line.startswith(b"-ERR"):
                raise NotYet(line.decode(errors="replace").strip() or "closed")

    def __enter__(self) -> Nats:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def echo(self) -> None:
        """Publish a message to ourselves and wait for it."""
        self._sent += 1
        subject = f"{self._inbox}.{self._sent}"
        self._socket.sendall(f"PUB {subject} 2\r\nok\r\n".encode())
        self._message(subject)

    def request(self, subject: str, body: bytes = b"") -> bytes:
        # A reply subject for each request: while a cluster forms, two servers may answer one of them.
        self._sent += 1
        reply = f"{self._inbox}.{self._sent}"
        self._socket.sendall(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")
        return self._message(reply)

    def _message(self, subject: str) -> bytes:
        while line := self._file.readline():
            words = line.split()
            if words[0] == b"PING":
                self._socket.sendall(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise NotYet(line.decode(errors="replace"))
            elif words[0] in (b"MSG", b"HMSG"):
                data = self._file.read(int(words[-1]) + 2)[:-2]
                if words[1].decode() != subject:
                    continue
                if words[0] == b"HMSG" and data.startswith(b"NATS/1.0 503"):
                    raise NotYet("nobody answers " + subject)
                return data[int(words[-2]) :] if words[0] == b"HMSG" else data
        raise EOFError("the connection was closed")

    def jetstream(self, call: str, body: dict | None = None, *, timeout_s: float = 1.0) -> dict:
        """One request to JetStream's API (https://docs.nats.io/reference/reference-protocols/nats_api_reference)."""
        self._socket.settimeout(timeout_s)
        answer = json.loads(self.request(f"$JS.API.{call}", b"" if body is None else json.dumps(body).encode()))
        if "error" in answer:
            raise NotYet(answer["error"].get("description", str(answer["error"])))
        return answer
