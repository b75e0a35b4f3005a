"""The state of a node as text: two states are the same if their texts are."""

from __future__ import annotations

import types
from typing import Any

from labsupport.messages import Message
from labsupport.node import Context, Node
from labsupport.sim.core import Host

_ATOMS = frozenset({int, float, str, bytes, bool, type(None)})


def told(value: Any, depth: int = 0) -> str:
    """A value as text in which nothing depends on addresses, on the order of sets or on when it was made."""
    kind = type(value)
    if kind in _ATOMS:
        return repr(value)
    if depth > 12:
        return "..."  # something that contains itself
    depth += 1
    if kind is list or kind is tuple:
        return "[" + ",".join([repr(item) if type(item) in _ATOMS else told(item, depth) for item in value]) + "]"
    if isinstance(value, dict):
        pairs = [
            f"{key!r}:{item!r}"
            if type(key) in _ATOMS and type(item) in _ATOMS
            else f"{told(key, depth)}:{told(item, depth)}"
            for key, item in value.items()
        ]
        return "{" + ",".join(sorted(pairs)) + "}"
    if isinstance(value, (set, frozenset)):
        return "<" + ",".join(sorted([told(item, depth) for item in value])) + ">"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([told(item, depth) for item in value]) + "]"
    if isinstance(value, Message):
        return f"{kind.wire_type}{told(value._pack(), depth)}"
    if isinstance(value, (Context, Node)):
        return kind.__name__  # it is told elsewhere
    if isinstance(value, types.CoroutineType):
        return _suspended(value)
    kept = getattr(value, "__dict__", None)
    return kind.__name__ + (told(kept, depth) if kept else "")


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
