"""The network of a cluster: one thread that carries every message, applies the faults, and writes down what happened.

All that it holds belongs to that thread; others leave orders with `post` and `ask`. A message goes through as the very
bytes that its sender wrote. What is decided about it goes by the process that wrote it, never by its ``src``, because
nodes pass on requests of clients under the client's name.

Source: https://github.com/jepsen-io/maelstrom, doc/protocol.md and src/maelstrom/net.clj.
"""

from __future__ import annotations

import dataclasses
import selectors
import threading
from collections.abc import Callable, Iterable
from typing import Any

from labsupport.cluster import SERVICES, TRACE
from labsupport.cluster.ends import End, NodeEnd, ServiceEnd, Way, read, write
from labsupport.cluster.loop import Loop, stopped
from labsupport.cluster.process import Process
from labsupport.cluster.report import NodeCrashed, Problems
from labsupport.faults import Faults
from labsupport.nemesis import SECOND, Nemesis

STARTER = "c0"  # the client that sends `init`
MOST_RECORDS, MOST_RECORDED_BYTES = 400_000, 200_000_000  # the older half of the messages is forgotten then
MOST_HELD = 200_000  # messages for a node that stands still or has not begun
LOOK_S = 0.05  # how often it looks whether a process has ended without closing its output
TOLD = ("note", "save", "timer", "timeout", "wake")
_MANY = frozenset({"send", "deliver", "lose", "save", "timer", "timeout", "wake"})  # what may be forgotten


def _answers(line: bytes) -> bool:
    """Whether a message answers a request: then its receiver is ready for it, even before it has answered `init`."""
    return read(line.decode())["body"].get("in_reply_to") is not None


class Router(Loop):
    """The thread that carries messages; `labsupport.cluster.cluster.Cluster` is what people use.

    Args:
        names: of the nodes.
        faults: what is to go wrong.
        seed: what chance is drawn from.
        spawn: starts the process of a node: (name, how many lives it had, its log) -> Process.
        wipe: empties the disk of a node that loses it.
        recording: whether messages are written down.
    """

    def __init__(
        self,
        names: Iterable[str],
        faults: Faults,
        seed: int,
        spawn: Callable[[str, int, bytearray], Process],
        wipe: Callable[[str], None],
        recording: bool,
    ) -> None:
        super().__init__("cluster-router")
        self.faults, self.seed, self._spawn, self._wipe, self._recording = faults, seed, spawn, wipe, recording
        self.hosts: dict[str, NodeEnd] = {name: NodeEnd(self, name) for name in names}
        self.services = {name: ServiceEnd(self, name) for name in SERVICES}
        self.ends: dict[str, End] = {**self.hosts, **self.services}
        self.records: list[tuple] = []
        self.forgotten = self.held = 0
        self.problems = Problems()
        self.crashed: dict[str, NodeCrashed] = {}  # nodes that have ended by themselves
        self.on_crash: list[Callable[[str, Exception], None]] = []
        self.changed = threading.Condition()  # whoever waits for a node looks again
        self.to_flush: dict[NodeEnd, None] = {}
        self.nemesis = Nemesis(self, faults)
        self._leader: NodeEnd | None = None
        self.cuts: frozenset[tuple[str, str]] = frozenset()
        self._number = self._recorded_bytes = 0
        self._at(0, self._look_around, None, None)

    # -------------------------------------------------------------------------------------------- its life

    def begin(self) -> None:
        """All nodes are ready: time begins here, and so do the faults. What was before has times below zero."""
        before = self._set_back()
        self.records[:] = [(when - before, *rest) for when, *rest in self.records]
        self.nemesis.begin()

    def failed(self, error: BaseException) -> None:
        """Tell whoever waits for an answer."""
        for tell in list(self.on_crash):
            tell("", error)
        self._tell_changed()

    def let_go(self) -> None:
        """Kill every process."""
        for host in self.hosts.values():
            if host.up and host.process.poll() is not None:
                self._ended(host)
            elif host.up:
                host.up = False
                host.process.kill()
                host.process.drain(lambda line: None)
                host.process.close()
        self.failed(stopped())

    def after_round(self) -> None:
        """Write what the round has brought, and keep the record within its limits."""
        while self.to_flush:
            self._flush(self.to_flush.popitem()[0])
        if len(self.records) > MOST_RECORDS or self._recorded_bytes > MOST_RECORDED_BYTES:
            self._forget()

    def _forget(self) -> None:
        """Drop the older half of the messages from the record; what clients, faults and notes say is kept."""
        half = len(self.records) // 2
        kept = [record for record in self.records[:half] if record[1] not in _MANY]
        self.forgotten += half - len(kept)
        self.records[:half] = kept
        self._recorded_bytes //= 2

    # -------------------------------------------------------------------------------------------- messages

    def take(self, source: End, line: bytes) -> None:
        """A line that an end has sent."""
        try:
            message = read(line.decode())
            way = source.ways.get(message["dest"])
            odd = way is None or message["body"].__class__ is not dict or message.get("src").__class__ is not str
        except (ValueError, TypeError, KeyError, RecursionError):
            self._stray(source, line)
            return
        if odd:
            line, way = self._look_closer(source, line, message)
            if way is None:
                return
        self._number = number = self._number + 1
        target = way.target
        envelope = (number, source.name, target.name, None, line, None, None)
        way.sent += 1
        source.sent += 1
        if self._recording:
            self.records.append((self.now_us, "send", source.name, envelope))
            self._recorded_bytes += len(line)
        if way.direct:
            self._arrive(way, envelope)
        else:
            self._travel(way, envelope)

    def _travel(self, way: Way, envelope: tuple) -> None:
        rule, stream = way.rule, way.random
        if rule.loss and stream.random() < rule.loss:
            self._lose(way, envelope, "lost on the way")
            return
        for _ in range(2 if rule.duplicate and stream.random() < rule.duplicate else 1):
            self._at(self.now_us + int(rule.draw_delay_s(stream) * SECOND), self._arrive, way, envelope)

    def _arrive(self, way: Way, envelope: tuple) -> None:
        target = way.target
        if self.cuts and (way.source.name, target.name) in self.cuts:
            self._lose(way, envelope, "partition")
        elif not target.up:
            self._lose(way, envelope, "receiver is down")
        elif target.paused or not (target.ready or _answers(envelope[4])):
            self.held += 1
            if len(target.backlog) < MOST_HELD:
                target.backlog.append((way, envelope))
            else:
                self._lose(way, envelope, "too much is waiting")
        else:
            way.received += 1
            if self._recording:
                self.records.append((self.now_us, "deliver", target.name, envelope))
            target.receive(envelope[4])

    def _lose(self, way: Way, envelope: tuple, why: str) -> None:
        if self._recording:
            self.records.append((self.now_us, "lose", way.target.name, (envelope, why)))

    def _release(self, host: NodeEnd) -> None:
        """Hand over what was held back."""
        backlog, host.backlog = host.backlog, []
        for way, envelope in backlog:
            self._arrive(way, envelope)

    def _look_closer(self, source: End, line: bytes, message: dict) -> tuple[bytes, Way | None]:
        """A message that is the first of its way, is for us, or is not quite as it should be."""
        dest, body = message["dest"], message["body"]
        if not isinstance(body, dict):
            self._stray(source, line)
            return line, None
        if dest == TRACE:
            self._told(source, line, body)
            return line, None
        if dest == STARTER:
            self._started(source, body)
            return line, None
        if not isinstance(message.get("src"), str):
            self.problems.nameless(source.name, line)
            line = write({**message, "src": source.name})
        if dest in source.ways:
            return line, source.ways[dest]
        target = self.ends.get(dest) if isinstance(dest, str) else None
        if target is None:
            self.problems.nowhere(source.name, dest, line, self.ends)
            return line, None
        way = source.ways[dest] = Way(source, target, self.faults.rule(source.name, dest, True), self.seed)
        return line, way

    def _stray(self, source: End, line: bytes) -> None:
        if isinstance(source, NodeEnd):
            text = line.decode(errors="replace").rstrip("\r")
            if text.strip():
                source.process.printed.append(text)
                self.problems.stray(source.name, text)

    def _told(self, source: End, line: bytes, body: dict) -> None:
        """One of our own nodes tells what it has done."""
        kind, detail = body.get("kind"), body.get("detail")
        if kind not in TOLD:
            self._stray(source, line)
            return
        detail = tuple(detail) if isinstance(detail, list) else detail
        if kind == "note" and detail[0] == "leader":
            self._leader = source
        self._recorded_bytes += len(line)
        self.records.append((self.now_us, kind, source.name, detail))

    def _started(self, source: End, body: dict) -> None:
        if body.get("type") == "init_ok" and not source.ready:
            source.ready = True
            self._release(source)
            self._tell_changed()
        elif body.get("type") == "error":
            self.problems.add(source.name, "init", f"{source.name} answered init with an error: {body.get('text')}")

    # -------------------------------------------------------------------------------------------- processes

    def launch(self, name: str) -> None:
        """Start a node that is down."""
        host = self.hosts[name]
        if host.up:
            return
        process = host.process = self._spawn(name, host.lives, host.log)
        self.records.append((self.now_us, "restart" if host.lives else "start", name, None))
        host.up, host.lives = True, host.lives + 1
        self.crashed.pop(name, None)
        self.watch(process.output, self._readable, host)
        self.watch(process.errors, self._errors_readable, host)
        body = {"type": "init", "msg_id": 1, "node_id": name, "node_ids": list(self.hosts)}
        process.write(write({"src": STARTER, "dest": name, "body": body}))
        self.to_flush[host] = None

    def _readable(self, host: NodeEnd) -> None:
        if host.process.ended:
            return  # it was killed a moment ago, in this very round
        lines = host.process.read()
        if lines is None:
            self.unwatch(host.process.output)
            self._at(self.now_us, self._look_after, host, host.process)
            return
        for line in lines:
            self.take(host, line)

    def _errors_readable(self, host: NodeEnd) -> None:
        if not host.process.ended and not host.process.read_errors():
            self.unwatch(host.process.errors)

    def _flush(self, host: NodeEnd) -> None:
        process = host.process
        if process is None or process.ended:
            return
        try:
            done = process.flush()
        except BrokenPipeError:
            process.waiting.clear()
            done = True
        self.unwatch(process.input)
        if not done:
            self.watch(process.input, self._flush, host, selectors.EVENT_WRITE)

    def _look_around(self, _: None, __: None) -> None:
        for host in self.hosts.values():
            if host.up and host.process.poll() is not None:
                self._ended(host)
        self._at(self.now_us + int(LOOK_S * SECOND), self._look_around, None, None)

    def _look_after(self, host: NodeEnd, process: Process) -> None:
        """Its output has ended, so most likely the process has."""
        if host.up and host.process is process and process.poll() is not None:
            self._ended(host)

    def _ended(self, host: NodeEnd) -> None:
        """A node has ended by itself."""
        self._bury(host)
        error = self.problems.death(host.name, host.process.poll(), *host.process.last_words, host.ready)
        self.records.append((self.now_us, "error", host.name, error.what))
        self.records.append((self.now_us, "crash", host.name, "by itself"))
        host.ready = False
        self.crashed[host.name] = error
        for tell in list(self.on_crash):
            tell(host.name, error)
        self._tell_changed()

    def _bury(self, host: NodeEnd) -> None:
        """What goes with a process: it has sent what is still in its pipe, and what came for it is lost."""
        process = host.process
        for fd in (process.output, process.errors, process.input):
            self.unwatch(fd)
        process.drain(lambda line: self.take(host, line))
        process.close()
        host.up = host.paused = False
        self._release(host)

    def _tell_changed(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # -------------------------------------------------------------------------------------------- faults

    def crash(self, name: str, lose_disk: bool = False, at_save: str = "") -> None:
        """Kill a node now; nothing happens if it is down."""
        host = self.hosts[name]
        if host.up and host.process.poll() is not None:
            self._ended(host)
        if not host.up:
            return
        host.process.kill()
        self.records.append((self.now_us, "crash", name, "and loses its disk" if lose_disk else None))
        self._bury(host)
        host.ready = False
        if lose_disk:
            self._wipe(name)

    def restart(self, name: str) -> None:
        """Start a node again now; nothing happens if it is up."""
        self.launch(name)

    def pause(self, name: str) -> None:
        """Let a node stand still from now on."""
        host = self.hosts[name]
        if host.up and not host.paused:
            host.paused = True
            host.process.stop()
            self.records.append((self.now_us, "pause", name, None))

    def resume(self, name: str) -> None:
        """Let a paused node go on; it gets what has come for it meanwhile."""
        host = self.hosts[name]
        if host.paused:
            host.paused = False
            host.process.go_on()
            self.records.append((self.now_us, "resume", name, None))
            self._release(host)

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """From now on lose every message from the first to the second of each pair, also those under way."""
        self.cuts = frozenset(pairs)
        self.records.append((self.now_us, "partition", "", tuple(sorted(self.cuts))))

    def heal(self) -> None:
        """Let every message through again."""
        if self.cuts:
            self.cuts = frozenset()
            self.records.append((self.now_us, "heal", "", None))

    def calm(self) -> None:
        """No fault from now on: heal, resume, restart, and lose and repeat nothing."""
        self.nemesis.stop()
        self.heal()
        calmed = {"loss": 0.0, "duplicate": 0.0, "straggle": 0.0}
        self.faults = dataclasses.replace(
            self.faults,
            link=dataclasses.replace(self.faults.link, **calmed),
            links={pair: dataclasses.replace(rule, **calmed) for pair, rule in self.faults.links.items()},
        )
        for end in self.ends.values():
            for way in end.ways.values():
                way.follow(dataclasses.replace(way.rule, **calmed))
        for name in self.hosts:
            self.resume(name)
            if name not in self.crashed:
                self.launch(name)

    # -------------------------------------------------------------------------------------------- counts

    def counts(self) -> dict[str, Any]:
        """See `labsupport.cluster.cluster.Cluster.counts`."""
        ways = [way for end in list(self.ends.values()) for way in list(end.ways.values())]
        found = {}
        for title, wanted in (("all", (True, False)), ("clients", (False,)), ("servers", (True,))):
            chosen = [way for way in ways if way.between_nodes in wanted]
            sent, received = sum(way.sent for way in chosen), sum(way.received for way in chosen)
            found[title] = {"sent": sent, "received": received, "unique": sent}
        return found | {"held": self.held}
