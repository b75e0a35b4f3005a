"""The child process's side of a check of a Node class: the learner's nodes live here, and their deeds are told.

The judge writes one JSON line per event, ``[what, world, node, its clock, ...]``, and reads back one line: the list of
what the node did, in order. Whatever a handler does wrong is found out here by the same code as in the simulation.

    ["open", world, seed, names, {node: class}]      a world begins          -> []
    ["start", world, node, now, disk]                the node starts         -> deeds
    ["hear", world, node, now, sender, body]         a message arrives       -> deeds
    ["ring", world, node, now, timer]                a timer goes off        -> deeds
    ["told", world, node, now, token, body]          a request is answered   -> deeds
    ["late", world, node, now, token]                it is not, or a sleep is over -> deeds
    ["went", true or false]                          after a save: it went well, or the node has crashed -> deeds
    ["shared"]                                       -> [] or one sentence each: cause, what to do

Deeds: ["send", dest, type, fields, in_reply_to], ["rpc", token, dest, type, fields, timeout_s], ["sleep", token, s],
["timer", name, s], ["cancel", name], ["note", what, facts], ["save", values] (then the judge must say "went"),
["raised", name, kind, what, cause, do, frames]. A save ends a line, because the node may crash there.
"""

from __future__ import annotations

import json
import os
import types
from collections.abc import Callable, Mapping
from typing import Any

from labsupport import node as contract
from labsupport.errors import LabError, LearnerError
from labsupport.exercises.host import learner_frames
from labsupport.messages import WHOLE, from_body, plain
from labsupport.node import Node
from labsupport.sim import guard, suspicion
from labsupport.sim.core import Core, CrashNow, Host, SimContext, Wait
from labsupport.sim.failures import exception_violation
from labsupport.watchdog import Endless

WORLDS = 16  # that are remembered; a judge leads one at a time
MOST_DEEDS = 10_000  # in one call of a handler; more is an endless loop that sends


class HostedContext(SimContext):
    """The context of a learner's node in the child."""

    def cancel_timer(self, name):
        super().cancel_timer(name)
        self._world.deed("cancel", name)


class Hosted(Core):
    """The learner's nodes of one world; nothing happens here, all is written down for the judge.

    Args:
        kinds: the learner's classes by the names of their nodes.
        names: all names in the judge's world, clients included.
        peers: those that are no clients.
        seed: of the judge's world.
        speak: writes a line of deeds and reads the judge's next one.
    """

    def __init__(
        self, kinds: Mapping[str, type[Node]], names: list[str], peers: list[str], seed: int, speak: Callable
    ) -> None:
        super().__init__(kinds, 0, {}, seed, ())
        self.names, self.deeds, self._speak = frozenset(names), [], speak
        self._log = _nothing
        for host in self.hosts.values():
            host.peers = tuple(name for name in peers if name != host.name)

    def deed(self, *deed: Any) -> None:
        """Write down what a node does."""
        self.deeds.append(deed)
        if len(self.deeds) > MOST_DEEDS:
            raise LearnerError(
                f"One call of a handler did more than {MOST_DEEDS:,} things.",
                cause="a loop that sends messages or sets timers and never ends",
                do="send a message for what is new and leave the rest to the next timer",
            )

    @guard.driver
    def take(self, what: str, name: str, now: float, *rest: Any) -> list[tuple]:
        """Let an event happen to a node; what it did."""
        host = self._acting = self.hosts[name]
        host.offset = now  # this clock stands still while a handler runs
        try:
            getattr(self, f"_{what}_it")(host, *rest)
        except CrashNow:
            self._silence(host)
            host.forget()
        except (Exception, Endless) as error:
            self._spawned.clear()
            self.deeds.append(_raised(self, error))
        deeds, self.deeds = self.deeds, []
        return deeds

    # -------------------------------------------------------------------------------------------- events

    def _start_it(self, host: Host, disk: dict[str, Any]) -> None:
        self._silence(host)
        host.disk = disk
        self._start(host)

    def _hear_it(self, host: Host, sender: str, body: dict[str, Any]) -> None:
        message = from_body(body, sender)
        kind = type(message)
        handler = host.handlers.get(kind) or self._find_handler(host, kind, message, sender)
        result = handler(message, sender, host.ctx)
        if result is not None or self._spawned:
            self._go_on(host, result, f"on_{kind.wire_type}")

    def _ring_it(self, host: Host, name: Any) -> None:
        name = tuple(name) if isinstance(name, list) else name
        host.timers.pop(name, None)
        self._fire(host, name)

    def _told_it(self, host: Host, token: int, body: dict[str, Any]) -> None:
        wait = host.waits.pop(token)
        self._answer(host, wait, from_body(body, wait.dest))

    def _late_it(self, host: Host, token: int) -> None:
        self._expire(host, host.waits.pop(token))

    # -------------------------------------------------------------------------------------------- deeds

    def _make_context(self, host: Host) -> SimContext:
        return HostedContext(self, host)

    def _link(self, host: Host, dest: str) -> str:
        if not isinstance(dest, str) or dest not in self.names:
            raise contract.unknown_node(host.name, dest, sorted(self.names))
        host.links[dest] = dest
        return dest

    def _transmit(self, link: str, envelope: tuple) -> None:
        _, _, dest, kind, parts, msg_id, in_reply_to = envelope
        fields = dict(zip(kind.wire_names, parts, strict=True))
        if msg_id is None:
            self.deed("send", dest, kind.wire_type, fields, in_reply_to)
        else:
            self._asked = (msg_id, dest, kind.wire_type, fields)  # until its time limit is known, see `_after`

    def _after(self, host: Host, seconds: float, wait: Wait, call: str) -> None:
        contract.check_duration(host.name, call, seconds)
        self.deed(call, *(self._asked if call == "rpc" else (wait.token,)), seconds)

    def _arm(self, host: Host, name: str, seconds: float) -> None:
        contract.check_duration(host.name, "set_timer", seconds)
        host.timers[name] = 0
        self.deed("timer", plain(name), seconds)

    def _after_save(self, host: Host) -> None:
        deeds, self.deeds = self.deeds, []
        if self._speak([*deeds, ("save", self._saving)]) != ["went", True]:
            raise CrashNow

    def _save(self, host: Host, values: dict[str, Any]) -> None:
        self._saving = values
        super()._save(host, values)

    def _note(self, host: Host, what: str, facts: dict[str, Any]) -> None:
        if not WHOLE.issuperset(map(type, facts.values())):
            facts = {name: plain(value) for name, value in facts.items()}
        self.deed("note", plain(what), facts)


def _nothing(record: tuple) -> None:
    """Nobody reads the records of this side."""


def _raised(world: Core, error: Exception) -> tuple:
    violated = exception_violation(world, error)
    kept = violated.error
    told = (kept.what, kept.cause, kept.do) if isinstance(kept, LabError) else (repr(error), "", "")
    return ("raised", violated.name, type(kept).__name__, *told, learner_frames(error))


# ------------------------------------------------------------------------------------------------ the driver


class Stage:
    """All worlds of one child, and the line to the judge."""

    def __init__(self, given: Any, tell: Callable[..., None], fd: int, names: list[str]) -> None:
        self._tell, self._told = tell, False
        self._in, self._out = os.fdopen(os.dup(fd), "rb"), os.fdopen(fd, "wb")
        self.kinds = {name: getattr(given, name) for name in names}
        self.worlds: dict[int, Hosted] = {}

    def speak(self, answer: list) -> list | None:
        """Write a line and read the next one; None when the judge has gone."""
        self._out.write(json.dumps(answer).encode() + b"\n")
        self._out.flush()
        line = self._in.readline()
        return json.loads(line) if line else None

    def run(self) -> None:
        """Answer the judge until it goes."""
        known = {name: sorted(contract.handlers_of(kind)) for name, kind in self.kinds.items()}
        kinds = list(self.kinds.values())
        with guard.watching(types.SimpleNamespace(kind=kind) for kind in kinds):
            before = suspicion.shared_values(kinds)
            order = self.speak([known])
            while order is not None:
                if order[0] == "shared":
                    answer = _complaint(before, suspicion.shared_values(kinds))
                elif order[0] == "open":
                    answer = self._open(*order[1:])
                else:
                    answer = self._take(*order)
                order = self.speak(answer)

    def _take(self, what: str, number: int, *rest: Any) -> list[tuple]:
        deeds = self.worlds[number].take(what, *rest)
        if deeds and deeds[-1][0] == "raised" and deeds[-1][2] == "NotImplementedError" and not self._told:
            self._told = True
            self._tell.send({"failed": deeds[-1][2], "message": deeds[-1][3], "frames": deeds[-1][6]})
        return deeds

    def _open(self, number: int, seed: int, names: list[str], peers: list[str], kinds: dict[str, str]) -> list:
        while len(self.worlds) >= WORLDS:
            self.worlds.pop(min(self.worlds)).discard()
        chosen = {name: self.kinds[kind] for name, kind in kinds.items()}
        self.worlds[number] = Hosted(chosen, names, peers, seed, self.speak)
        return []


def _complaint(before: dict[str, str], after: dict[str, str]) -> list[str]:
    try:
        suspicion.refuse_shared(before, after)
    except LearnerError as error:
        return [error.what, error.cause, error.do]
    return []


def serve_nodes(given: Any, tell: Callable[..., None], fd: int, names: list[str]) -> None:
    """The driver: hold the learner's node classes and let the judge lead them."""
    Stage(given, tell, fd, names).run()
