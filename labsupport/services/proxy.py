"""A proxy that breaks the network between a client and a service: slow, silent, cut, or gone on one side only.

    with Proxy(etcd.url) as proxy:
        client = connect(proxy.url)                 # instead of etcd.url
        proxy.latency(200, jitter_ms=50)            # from now on, on every connection
        proxy.blackhole()                           # nothing arrives any more, and nobody is told
        proxy.heal()                                # all as before; what waited arrives

It works on TCP connections and knows no protocol, so any client and any server will do. What it does is what a network
does, as far as a program can see it (https://www.rfc-editor.org/rfc/rfc9293, sections 3.5 and 3.10.7): a stream never
misses a byte in its middle.
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from labsupport.errors import LearnerError
from labsupport.services.node import DEFAULT_PORTS
from labsupport.services.relay import HOST, Link, Relay, Stream

PIECE_S = 0.02  # a narrow line is served in pieces of this length
SLACK_S = 0.0002  # timers go off this much too early
SERVER, CLIENT = "server", "client"
Toward = "str | None"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What happens to one direction of every connection.

    Args:
        latency_ms, jitter_ms: how long a byte takes, give or take. kb_per_s: how many thousand bytes pass in a second;
        0 means as many as come. silent: nothing passes. cut_after: a connection ends after so many; 0: never.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    kb_per_s: float = 0.0
    silent: bool = False
    cut_after: int = 0


class _Stream(Stream):
    """A stream under a rule, which may be another one at any time."""

    def __init__(self, proxy: Proxy, toward: str) -> None:
        super().__init__()
        self.proxy, self.toward = proxy, toward
        self.peer = "there"  # or "gone", or "back": the next byte meets one that knows nothing of this connection
        self.counted = 0  # bytes since the rule to cut was made
        self._came: deque[list] = deque()  # when, a number from -1 to 1 for the jitter, how many bytes
        self._line_free_at = 0.0

    def arrived(self, size: int) -> None:
        self._came.append([self.link.relay.loop.time(), self.proxy.random.uniform(-1, 1), size])

    def allowed(self) -> int:
        if not self._due():
            return 0
        rule, size = self.proxy.rules[self.toward], self._came[0][2]
        if rule.kb_per_s:
            size = min(size, max(1, int(rule.kb_per_s * 1000 * PIECE_S)))
        return min(size, rule.cut_after - self.counted) if rule.cut_after else size

    def passed(self, size: int) -> None:
        rule, now = self.proxy.rules[self.toward], self.link.relay.loop.time()
        if rule.kb_per_s:
            self._line_free_at = max(self._line_free_at, now - PIECE_S) + size / (rule.kb_per_s * 1000)
        self._came[0][2] -= size
        if not self._came[0][2]:
            self._came.popleft()
        self.counted += size
        self.proxy.bytes[self.toward] += size
        if rule.cut_after and self.counted >= rule.cut_after:
            self.end()
            self.source.reset()

    def may_end(self) -> bool:
        return self._due()

    def _due(self) -> bool:
        """Whether what came first has been on its way long enough."""
        if self.peer == "back":
            self.link.relay.loop.call_soon(self.link.reset)
        rule, now = self.proxy.rules[self.toward], self.link.relay.loop.time()
        if rule.silent or self.peer != "there":
            return False
        came, draw, _ = self._came[0] if self._came else (now, 0.0, 0)
        due = max(came + max(0.0, rule.latency_ms + draw * rule.jitter_ms) / 1000, self._line_free_at)
        if due > now + SLACK_S:
            self.look_again_at(due)
            return False
        return True


class Proxy(Relay):
    """A bad network in front of one node of a service. Each fault holds for all connections until it is changed.

    Args:
        target: the node's address, with user and password if it has them; or anything with such a `url`.

    Attributes:
        url: the same address, but that of the proxy. port: the proxy's port, on 127.0.0.1.
        bytes: how many have passed, by where they went: "server" or "client".

    Raises:
        LearnerError: there is no such address.

    >>> with Proxy(redis.url) as proxy:                           # doctest: +SKIP
    ...     proxy.latency(100)

    A new connection is always accepted, because this machine does that before it asks the proxy. While nothing passes,
    it does not reach the server.
    """

    def __init__(self, target: str | object) -> None:
        url = getattr(target, "url", target)
        if not isinstance(url, str) or "," in url:
            raise LearnerError(
                f"A proxy stands before one node, and {target!r} is no address of one.",
                do="give it a url, such as nodes[0].url; several nodes need a proxy each",
            )
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if not parts.hostname or not port:
            raise LearnerError(f"{url!r} says no host and port.", do='write it like "redis://127.0.0.1:6379"')
        super().__init__()
        self.rules = {SERVER: Rule(), CLIENT: Rule()}
        self.bytes = {SERVER: 0, CLIENT: 0}
        self.random = random.Random("jitter")
        self.port = self.listen(parts.hostname, port, lambda: (_Stream(self, SERVER), _Stream(self, CLIENT)))
        user, at, _ = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=f"{user}{at}{HOST}:{self.port}").geturl().removeprefix("//")

    # ---- the faults

    def latency(self, ms: float, *, jitter_ms: float = 0.0, toward: Toward = None) -> None:
        """Let every byte take `ms` milliseconds longer, give or take `jitter_ms`; what is on its way is slowed, too.

        Args:
            toward: only bytes that go to the "server", or only those to the "client"; None means both. A round trip
                takes the time twice then.
        """
        if ms < 0 or jitter_ms < 0:
            raise LearnerError(f"No byte arrives before it is sent ({ms:g} ms, jitter {jitter_ms:g} ms).")
        self._change(toward, latency_ms=ms, jitter_ms=jitter_ms)

    def bandwidth(self, kb_per_s: float | None, *, toward: Toward = None) -> None:
        """Let only so many thousand bytes pass in a second, on each connection; None ends that."""
        if kb_per_s is not None and kb_per_s <= 0:
            raise LearnerError(f"A line of {kb_per_s:g} kB/s carries nothing.", do="call .blackhole() for that")
        self._change(toward, kb_per_s=kb_per_s or 0.0)

    def blackhole(self, *, toward: Toward = None) -> None:
        """Let nothing pass: connections stay open, no end hears of it. After `heal` what waited arrives, in order.

        That is a partition: the two kernels send the same packets again until they get through.
        """
        self._change(toward, silent=True)

    def cut_after(self, size: int, *, toward: Toward = None) -> None:
        """End each connection when `size` more bytes have passed, in the middle of a message if it so happens.

        The receiver gets exactly these bytes and the end of the stream; the sender's connection is reset.
        """
        if size < 1:
            raise LearnerError(f"A connection cannot end after {size} bytes.", do="call .reset() to end them now")

        def restart() -> None:
            for stream in self._streams():
                stream.counted = 0

        self._change(toward, restart, cut_after=size)

    def half_open(self) -> None:
        """Take from every connection its peer, without telling either end; new connections are not concerned.

        So it is when a machine loses power, or a firewall forgets a connection. Both ends wait, and what they send is
        lost. After `heal` the first byte is answered with a reset, by a peer that knows nothing of the connection.
        """
        self._order(lambda: [setattr(stream, "peer", "gone") for stream in self._streams() if stream.peer == "there"])

    def reset(self) -> None:
        """Break every connection at both ends (RST); new ones are not concerned."""
        self._order(lambda: [link.reset() for link in list(self.links)])

    def heal(self) -> None:
        """End all faults."""

        def act() -> None:
            self.rules = {SERVER: Rule(), CLIENT: Rule()}
            for stream in self._streams():
                stream.peer = "back" if stream.peer == "gone" else stream.peer

        self._order(act)

    # ---- looking

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self.links)

    def __repr__(self) -> str:
        if self.closed:
            return "a proxy that has been closed"
        blank = Rule()
        faults = [
            f"{field.name.replace('_', ' ')} {getattr(rule, field.name):g} toward the {toward}"
            for toward, rule in self.rules.items()
            for field in dataclasses.fields(rule)
            if getattr(rule, field.name) != getattr(blank, field.name)
        ]
        return f"proxy at {HOST}:{self.port}, {self.connections} connections, {'; '.join(faults) or 'no faults'}"

    # ---- inside

    def may_open(self, link: Link) -> bool:
        return not any(rule.silent for rule in self.rules.values())

    def _streams(self) -> list[_Stream]:
        return [stream for link in self.links for stream in (link.there, link.back)]

    def _change(self, toward: Toward, also: Callable[[], None] = lambda: None, **what: float) -> None:
        if toward not in (None, SERVER, CLIENT):
            raise LearnerError(f"Bytes go toward the server or the client, not {toward!r}.", do='write toward="server"')

        def act() -> None:
            also()
            for each in [toward] if toward else (SERVER, CLIENT):
                self.rules[each] = dataclasses.replace(self.rules[each], **what)

        self._order(act)

    def _order(self, act: Callable[[], object]) -> None:
        if self.closed:
            raise LearnerError("This proxy has been closed.", do="use it inside `with Proxy(...) as proxy:`")
        self.call(act)
