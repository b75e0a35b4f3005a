"""Redis's protocol, RESP version 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

from __future__ import annotations

from labsupport.services.wire import NotYet, connect


class Resp:
    """One connection: `call` sends a command and returns the reply; an error reply raises `NotYet`."""

    def __init__(
        self, port: int, password: str = "", *, user: str = "", timeout_s: float = 0.3, host: str = "127.0.0.1"
    ):
        self._socket = connect(port, timeout_s, host)
        self._file = self._socket.makefile("rb")
        self._greeting = [("AUTH", *([user] if user else []), password)] if password else []

    def __enter__(self) -> Resp:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def call(self, *command: str):
        return self.pipeline(command)[0]

    def pipeline(self, *commands: tuple[str, ...]) -> list:
        """Send several commands in one packet, the password before the first."""
        greeting, self._greeting = self._greeting, []
        sent = [*greeting, *commands]
        self._socket.sendall(b"".join(map(_encode, sent)))
        return [self._reply() for _ in sent][len(greeting) :]

    def _reply(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        raise NotYet(rest.decode(errors="replace"))


def _encode(command: tuple[str, ...]) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
