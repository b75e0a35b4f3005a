"""AMQP 0-9-1 as RabbitMQ speaks it (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf)."""

from __future__ import annotations

import struct

from labsupport.services.wire import NotYet, connect

CONNECTION_CLOSE, CHANNEL_CLOSE = (10, 50), (20, 40)
METHOD, HEARTBEAT = 1, 8


class Amqp:
    """One connection with one channel in confirm mode: declare a queue, publish to it, get from it, delete it."""

    def __init__(
        self, port: int, user: str, password: str, *, timeout_s: float = 1.0, host: str = "127.0.0.1", vhost="/"
    ):
        self._socket = connect(port, timeout_s, host)
        self._file = self._socket.makefile("rb")
        try:
            self._log_in(user, password, vhost)
        except BaseException:
            self._drop()
            raise

    def _log_in(self, user: str, password: str, vhost: str) -> None:
        self._socket.sendall(b"AMQP\0\0\x09\x01")
        self._expect((10, 10))  # start
        response = _long(b"\0" + user.encode() + b"\0" + password.encode())
        self._method(0, (10, 11), _long(b"") + _short("PLAIN") + response + _short("en_US"))
        tune = self._expect((10, 30))
        self._method(0, (10, 31), tune[:6] + b"\0\0")  # tune-ok, without heartbeats
        self._method(0, (10, 40), _short(vhost) + b"\0\0")  # open
        self._expect((10, 41))

    def __enter__(self) -> Amqp:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._method(0, CONNECTION_CLOSE, struct.pack(">H", 200) + b"\0" + struct.pack(">HH", 0, 0))
            self._frame()
        except (OSError, EOFError, NotYet):
            pass
        self._drop()

    def _drop(self) -> None:
        self._file.close()
        self._socket.close()

    def open_channel(self) -> None:
        self._method(1, (20, 10), b"\0")
        self._expect((20, 11))
        self._method(1, (85, 10), b"\0")  # confirm.select
        self._expect((85, 11))

    def declare(
        self, queue: str, arguments: dict | None = None, *, passive=False, durable=False, exclusive=False
    ) -> int:
        """Declare a queue, or with `passive` ask for it; returns how many messages are ready in it."""
        bits = passive * 1 | durable * 2 | exclusive * 4
        self._method(1, (50, 10), b"\0\0" + _short(queue) + bytes([bits]) + _table(arguments or {}))
        answer = self._expect((50, 11))
        return struct.unpack_from(">I", answer, 1 + answer[0])[0]

    def publish(self, queue: str, body: bytes) -> None:
        """Publish through the default exchange, as a persistent message, and wait for the confirm."""
        self._method(1, (60, 40), b"\0\0" + b"\0" + _short(queue) + b"\1")  # mandatory
        self._send(2, 1, struct.pack(">HHQHB", 60, 0, len(body), 0x1000, 2))
        self._send(3, 1, body)
        self._expect((60, 80))

    def get(self, queue: str) -> bytes | None:
        self._method(1, (60, 70), b"\0\0" + _short(queue) + b"\1")  # no acknowledgement
        kind, _ = self._frame()
        if kind == (60, 72):
            return None
        if kind != (60, 71):
            raise NotYet(f"unexpected answer {kind}")
        self._frame()  # the header
        return self._frame()[1]

    def delete(self, queue: str) -> None:
        self._method(1, (50, 40), b"\0\0" + _short(queue) + b"\0")
        self._expect((50, 41))

    def _method(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        self._send(METHOD, channel, struct.pack(">HH", *method) + arguments)

    def _send(self, kind: int, channel: int, payload: bytes) -> None:
        self._socket.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")

    def _expect(self, method: tuple[int, int]) -> bytes:
        kind, arguments = self._frame()
        if kind != method:
            raise NotYet(f"expected {method}, got {kind}")
        return arguments

    def _frame(self) -> tuple:
        while True:
            kind, _, size = struct.unpack(">BHI", self._read(7))
            payload = self._read(size + 1)[:-1]
            if kind == HEARTBEAT:
                continue
            if kind != METHOD:
                return kind, payload
            method = struct.unpack_from(">HH", payload)
            if method in (CONNECTION_CLOSE, CHANNEL_CLOSE):
                code, length = struct.unpack_from(">HB", payload, 4)
                raise NotYet(f"{code} {payload[7 : 7 + length].decode(errors='replace')}")
            return method, payload[4:]

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the connection was closed")
        return data


def _short(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _table(fields: dict) -> bytes:
    encoded = b""
    for name, value in fields.items():
        encoded += _short(name)
        encoded += b"I" + struct.pack(">i", value) if isinstance(value, int) else b"S" + _long(value.encode())
    return _long(encoded)
