"""Faults of a learner's code that no fault of the network explains: shared state, and runs that do not repeat."""

from __future__ import annotations

import types
from collections.abc import Iterable

from labsupport.errors import LearnerError
from labsupport.node import Node
from labsupport.sim import state
from labsupport.trace import Trace

_PLAIN = (int, float, str, list, dict, set, type(None))


def shared_values(kinds: Iterable[type[Node]]) -> dict[str, str]:
    """All that the nodes of these classes share, as text: class attributes, default arguments, globals they use."""
    found: dict[str, str] = {}
    for kind in dict.fromkeys(base for one in kinds for base in one.__mro__):
        if kind.__module__.startswith("labsupport.") or kind is object:
            continue
        for name, value in list(vars(kind).items()):
            if isinstance(value, types.FunctionType):
                found.update(_of_function(kind, value))
            elif isinstance(value, _PLAIN) and not name.startswith("__"):
                found[f"the class attribute {kind.__name__}.{name}"] = state.told(value)
    return found


def _of_function(kind: type, function: types.FunctionType) -> dict[str, str]:
    found = {}
    for number, value in enumerate(function.__defaults__ or ()):
        if isinstance(value, (list, dict, set)):
            found[f"default argument {number + 1} of {kind.__name__}.{function.__name__}"] = state.told(value)
    for name in _names(function.__code__):
        value = function.__globals__.get(name, found)
        if value is not found and isinstance(value, _PLAIN):
            found[f"the global variable {name}"] = state.told(value)
    return found


def _names(code: types.CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def refuse_shared(before: dict[str, str], after: dict[str, str]) -> None:
    """Compare what was shared before and after some runs.

    Raises:
        LearnerError: something has changed, so that nodes have influenced each other without a message.
    """
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name, "absent"), after.get(name, "absent")
        if old != new:
            raise LearnerError(
                f"The nodes share {name}: it was {old[:100]} before the runs and {new[:100]} after them.",
                cause="real nodes are separate processes; what one of them changes no other one sees",
                do="make it an attribute of the object: write self.name = ... in on_start",
            )


def refuse_unequal(seed: int, first: Trace, second: Trace) -> None:
    """Compare two runs of one seed.

    Raises:
        LearnerError: they differ.
    """
    if first.digest() == second.digest():
        return
    pairs = zip(first, second, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if str(a) != str(b)), min(len(first), len(second)))
    once, again = (str(trace[place]).strip() if place < len(trace) else "nothing more" for trace in (first, second))
    raise LearnerError(
        f"Two runs of seed {seed} differ from event {place} on. Once: {once}. Again: {again}.",
        cause="a node that depends on more than its messages, timers and ctx.random",
        do="walk through sets with sorted(...); keep nothing in globals or class attributes; do not use id() or hash()",
    )
