"""Listen on the wire between a learner's code and a real server, and stop it at an exact point.

    with Wiretap() as tap:
        child = answer.start(driver, url=tap.amqp(rabbit.url), ...)       # the code connects through the tap
        stop = tap.stop_at(lambda event: event.name == "Basic.Ack")       # hold the first acknowledgement ...
        ...                                                               # ... and everything that comes behind it
        stop.release()                                                    # or: child.kill(); stop.cut()

A process that is killed at a random moment is seldom killed at the interesting one. Here the moment is a message: the
check kills the process while the message is on its way, and what came before it has surely reached the server.

Protocols: AMQP 0-9-1 (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, section 4.2, decoded by pika) and RESP
(https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pika
import pika.exceptions
import pika.frame

from labsupport.services.relay import Relay, Stream

SHOWN = 60  # characters of an argument that a line of evidence shows
MOST_HEARD = 16_000_000  # bytes; a check hears thousands, and a worker that never ends must not fill its memory


@dataclasses.dataclass(frozen=True)
class Event:
    """One message on the wire, or a remark of the check.

    Args:
        who: the name that the check gave to the connection's owner.
        name: "Basic.Publish" and the like, "HSET" and the like, "reply", or "" for a remark.
        sent: it comes from the learner's code, not from the server.
        content: pika's method object; the arguments of a command, which a reply has too; a remark's text.
        bodies: the AMQP messages that it carries or settles.
    """

    who: str
    name: str
    sent: bool
    content: Any
    bodies: tuple[bytes, ...] = ()

    @property
    def is_command(self) -> bool:
        """Whether it is a command to a store."""
        return self.sent and isinstance(self.content, list)

    def concerns(self, texts: Iterable[str]) -> bool:
        """Whether one of `texts` is in the message that it carries or settles, or in its arguments."""
        arguments = self.content if isinstance(self.content, list) else []
        parts = [*arguments, *(body.decode(errors="replace") for body in self.bodies)]
        return any(text in part for text in texts for part in parts)

    def __str__(self) -> str:
        if not self.name:
            return self.content
        far = "store" if isinstance(self.content, list) else "broker"
        ends = (self.who, far) if self.sent else (far, self.who)
        return f"{ends[0]} -> {ends[1]}: {self._what()}"

    def _what(self) -> str:
        if isinstance(self.content, list):
            words = " ".join(_short(" ".join(argument.split())) for argument in self.content)
            return words if self.sent else f"done: {words}"
        method = self.content
        bodies = ", ".join(_short(body.decode(errors="replace")) for body in self.bodies)
        if isinstance(method, pika.spec.Basic.Publish):
            return f"publish {bodies} to {method.exchange or 'the queue'} {method.routing_key}"
        again = " (redelivered)" if getattr(method, "redelivered", False) else ""
        requeue = {True: " (requeue)", False: " (no requeue)"}.get(getattr(method, "requeue", None), "")
        return f"{self.name.partition('.')[2].lower()} {bodies}{again}{requeue}".strip()


class Stop:
    """A point at which the tap holds one direction of one connection."""

    def __init__(self, wanted: Callable[[Event], bool], look_again: Callable[[], None]) -> None:
        self.wanted, self._look_again = wanted, look_again
        self.event: Event | None = None
        self.error: Exception | None = None
        self._reached = threading.Event()
        self._over = self._cut = False

    @property
    def reached(self) -> bool:
        """Whether it holds (or held) its message.

        Raises:
            Exception: whatever `wanted` raised.
        """
        if self.error:
            raise self.error
        return self._reached.is_set()

    def release(self) -> None:
        """Let the message go on; a stop that has not been reached yet is taken away."""
        self._over = True
        self._look_again()

    def cut(self) -> None:
        """Throw the message away with all that comes behind it, and end that direction of the connection."""
        self._cut = True
        self.release()

    def _wants(self, event: Event) -> bool:
        if self._reached.is_set() or self._over:
            return False
        try:
            wanted = self.wanted(event)
        except Exception as error:  # it runs in the tap's thread; the check asks `reached`
            self.error, wanted = error, True
        if wanted:
            self.event = event
            self._reached.set()
        return bool(wanted)


class Wiretap(Relay):
    """Relays to any number of servers, and one history of all that passed; use it as a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.heard = 0  # bytes, on all connections
        self._stops: list[Stop] = []

    @property
    def is_full(self) -> bool:
        """Whether it has heard more than it can keep; then it has ended every connection that went on."""
        return self.heard > MOST_HEARD

    def amqp(self, url: str, who: str = "worker") -> str:
        """The address under which RabbitMQ is reached through the tap."""
        return self._tap(url, lambda: _Amqp(who))

    def resp(self, url: str, who: str = "worker") -> str:
        """The address under which Redis is reached through the tap."""
        return self._tap(url, lambda: _Resp(who))

    def stop_at(self, wanted: Callable[[Event], bool]) -> Stop:
        """Hold the first message from now on for which `wanted` is true."""
        stop = Stop(wanted, self.poke)
        self._stops.append(stop)
        return stop

    def note(self, text: str) -> None:
        """Write what the check itself does into the history."""
        self.events.append(Event("", "", False, text))

    def history(self, *texts: str, since: int = 0, lines: int = 20) -> list[str]:
        """The last lines of the history since its `since`-th event: the remarks, and what concerns one of `texts`."""
        return [str(event) for event in self.events[since:] if not event.name or event.concerns(texts)][-lines:]

    def settle(self, timeout_s: float = 20.0) -> None:
        """Wait until no connection is left: all that was sent before has been taken by the servers.

        Raises:
            TimeoutError: a connection is still open after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        for link in list(self.links):
            if not link.over.wait(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"waited {timeout_s:g} s for the end of all connections")

    def _tap(self, url: str, protocol: Callable[[], _Amqp | _Resp]) -> str:
        address = urlsplit(url)

        def streams() -> tuple[_Tapped, _Tapped]:
            both = protocol()  # a reply is understood by what was asked
            return _Tapped(self, both, True), _Tapped(self, both, False)

        port = self.listen(address.hostname, address.port, streams)
        return address._replace(netloc=f"{address.netloc.rpartition('@')[0]}@127.0.0.1:{port}").geturl()

    def _pass(self, event: Event) -> list[Stop]:
        """Write an event down; the stops that hold it."""
        self.events.append(event)
        return [stop for stop in list(self._stops) if stop._wants(event)]


class _Tapped(Stream):
    """One direction of a connection, message by message."""

    resets_pass = False  # a reset would make the server forget what it has not read yet

    def __init__(self, tap: Wiretap, protocol: _Amqp | _Resp, sent: bool) -> None:
        super().__init__()
        self.tap, self.protocol, self.sent = tap, protocol, sent
        self.size = 0  # of the message that is held
        self.holding: list[Stop] = []

    def arrived(self, size: int) -> None:
        self.tap.heard += size
        if self.tap.is_full:
            self.end()

    def allowed(self) -> int:
        """The size of the first whole message, after it was written down and held where a stop wanted it."""
        if not self.size:
            try:
                self.size, events = self.protocol.split(bytes(self.waiting), self.sent)
            except (pika.exceptions.AMQPError, ValueError):
                self.end()
                return 0
            if not self.size and self.ended:
                self.end()  # in the middle of a message
            self.holding = [stop for event in events for stop in self.tap._pass(event)]
        if any(stop._cut for stop in self.holding):
            self.end()
            return 0
        self.holding = [stop for stop in self.holding if not stop._over]
        return 0 if self.holding else self.size

    def passed(self, size: int) -> None:
        self.size = 0

    def has_room(self) -> bool:
        return not self.holding or super().has_room()


class _Amqp:
    """AMQP 0-9-1; a method and the content that follows it are one message."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.unsettled: dict[tuple[int, int], bytes] = {}  # what was delivered, by channel and delivery tag

    def split(self, data: bytes, sent: bool) -> tuple[int, list[Event]]:
        size, frame = pika.frame.decode_frame(data)
        if not isinstance(frame, pika.frame.Method):
            return size, []
        method, body = frame.method, None
        if method.__class__.__name__ in ("Publish", "Deliver", "GetOk", "Return"):
            used, header = pika.frame.decode_frame(data[size:])
            if not used:
                return 0, []
            size, body = size + used, b""
            while len(body) < header.body_size:
                used, part = pika.frame.decode_frame(data[size:])
                if not used:
                    return 0, []
                size, body = size + used, body + part.fragment
        bodies = self._bodies(frame.channel_number, method, body, sent)
        return size, [Event(self.who, method.NAME, sent, method, bodies)]

    def _bodies(self, channel: int, method: Any, body: bytes | None, sent: bool) -> tuple[bytes, ...]:
        kind = method.__class__.__name__
        if kind in ("Deliver", "GetOk"):
            self.unsettled[channel, method.delivery_tag] = body
        if sent and kind in ("Ack", "Nack", "Reject"):
            tag = method.delivery_tag
            tags = {number for where, number in self.unsettled if where == channel}
            if getattr(method, "multiple", False):
                tags = {number for number in tags if number <= tag or tag == 0}  # zero means all of them
            else:
                tags &= {tag}
            return tuple(self.unsettled.pop((channel, number)) for number in sorted(tags))
        return () if body is None else (body,)


class _Resp:
    """RESP: commands one way, replies the other, in the same order."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.asked: collections.deque[list[str]] = collections.deque()

    def split(self, data: bytes, sent: bool) -> tuple[int, list[Event]]:
        size = _value_end(data, 0)
        if not size:
            return 0, []
        if sent:
            words = [word.decode(errors="replace") for word in _bulk_strings(data[:size])]
            self.asked.append(words)
            return size, [Event(self.who, words[0].upper(), True, words)]
        if data[:1] == b">" or not self.asked:
            return size, []  # a push message answers no command
        return size, [Event(self.who, "reply", False, self.asked.popleft())]


def _value_end(data: bytes, start: int) -> int:
    """Where the RESP value that begins at `start` ends; 0 when it is not there as a whole."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return 0
    kind, end = data[start : start + 1], line + 2
    if kind in (b"$", b"=", b"!"):
        size = int(data[start + 1 : line])
        end = end + size + 2 if size >= 0 else end
        return end if end <= len(data) else 0
    if kind in (b"*", b"~", b">", b"%"):
        for _ in range(int(data[start + 1 : line]) * (2 if kind == b"%" else 1)):
            end = _value_end(data, end)
            if not end:
                return 0
    return end


def _bulk_strings(command: bytes) -> list[bytes]:
    words, at = [], command.index(b"\r\n") + 2
    while at < len(command):
        line = command.index(b"\r\n", at)
        size = int(command[at + 1 : line])
        words.append(command[line + 2 : line + 2 + size])
        at = line + size + 4
    return words


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
