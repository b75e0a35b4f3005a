"""The state of a node as text: two states are the same if their texts are."""

from __future__ import annotations

import types
from typing import Any

from labsupport.messages import Message
from labsupport.node import Context, Node
from labsupport.sim.core import Host

_ATOMS = (int, float, str, bytes, bool, type(None))


def told(value: Any, depth: int = 0) -> str:
    """A value as text in which nothing depends on addresses, on the order of sets or on when it was made."""
    if isinstance(value, _ATOMS):
        return repr(value)
    if depth > 12:
        return "..."  # something that contains itself
    deeper = depth + 1
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{told(k, deeper)}:{told(v, deeper)}" for k, v in value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([told(item, deeper) for item in value]) + "]"
    if isinstance(value, (set, frozenset)):
        return "<" + ",".join(sorted(told(item, deeper) for item in value)) + ">"
    if isinstance(value, Message):
        return f"{type(value).wire_type}{told(value._pack(), deeper)}"
    if isinstance(value, (Context, Node)):
        return type(value).__name__  # it is told elsewhere
    if isinstance(value, types.CoroutineType):
        return _suspended(value)
    kept = getattr(value, "__dict__", None)
    return type(value).__name__ + (told(kept, deeper) if kept else "")


def of_host(host: Host) -> str:
    """All of a node that can influence what it will do."""
    if not host.up:
        return f"down {told(host.disk)}"
    waits = [(token, wait.dest, wait.what, _suspended(wait.coro)) for token, wait in host.waits.items()]
    return f"{told(vars(host.node))} {sorted(host.timers)} {waits} {told(host.disk)}"


def _suspended(coro: Any) -> str:
    """Where a coroutine stands, with its local values."""
    places = []
    while isinstance(coro, types.CoroutineType) and coro.cr_frame is not None:
        names = {name: value for name, value in coro.cr_frame.f_locals.items() if name not in ("self", "ctx")}
        places.append(f"{coro.__qualname__}@{coro.cr_frame.f_lasti}{told(names, 8)}")
        coro = coro.cr_await
    return "/".join(places)
