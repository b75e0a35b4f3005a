"""What the nodes of a simulated world know, as tables: their variables, and the logs of those that keep one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from labsupport.view.cards import Table

COMMITTED = ("commit_index", "commit")  # attributes that tell how much of a log is committed
DOWN = "✗ down"
MOST_LETTERS = 60  # of one value


def variables(nodes: Mapping[str, Any]) -> Table:
    """Each node's public attributes, a log left out: that has a table of its own.

    Args:
        nodes: the node objects by name; None for one that is down.
    """
    rows = [(name, DOWN if node is None else _brief(_public(node))) for name, node in nodes.items()]
    return Table("", ("node", "variables"), rows)


def logs(nodes: Mapping[str, Any]) -> Table | None:
    """The logs side by side, place by place; None if no node has a list called `log`.

    A ✓ marks what a node knows to be committed, by its `commit_index` or `commit`. Places are counted from 1 as in the
    Raft paper (https://raft.github.io/raft.pdf); from 0, if the first entry is of term 0: then it only fills the place.
    """
    kept = {name: _log(node) for name, node in nodes.items()}
    if not any(log is not None for log in kept.values()):
        return None
    first = 0 if any(log and _term(log[0]) == 0 for log in kept.values()) else 1
    length = max(len(log or ()) for log in kept.values())
    rows = [
        (str(place), *(_entry(nodes[name], log or [], place, first) for name, log in kept.items()))
        for place in range(first, first + length)
    ]
    return Table("Logs; ✓ is committed", ("place", *(_heading(name, node) for name, node in nodes.items())), rows)


def _log(node: Any) -> list | None:
    log = getattr(node, "log", None)
    return log if isinstance(log, list) else None


def _heading(name: str, node: Any) -> str:
    if node is None:
        return f"{name} {DOWN}"
    told = [getattr(node, "role", None), _told("term", getattr(node, "term", None)), _told("commit", _committed(node))]
    return " · ".join([name, *(word for word in told if isinstance(word, str) and word)])


def _told(word: str, value: Any) -> str:
    return f"{word} {value}" if isinstance(value, int) else ""


def _committed(node: Any) -> int | None:
    return next((value for name in COMMITTED if isinstance(value := getattr(node, name, None), int)), None)


def _entry(node: Any, log: list, place: int, first: int) -> str:
    if place - first >= len(log):
        return ""
    entry = log[place - first]
    fields = {name: value for name, value in _fields(entry).items() if name != "term"}
    words = [_told("term", _term(entry)), _brief(fields)] if _fields(entry) else [_short(entry)]
    return ("✓ " if place <= (_committed(node) or 0) else "") + " · ".join(filter(None, words))


def _term(entry: Any) -> Any:
    return entry[0] if isinstance(entry, (list, tuple)) and entry else _fields(entry).get("term")


def _fields(entry: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(entry):  # messages are, and have no `__dict__`
        return {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    return entry if isinstance(entry, dict) else dict(getattr(entry, "__dict__", {}))


def _public(node: Any) -> dict[str, Any]:
    log = _log(node)
    return {name: value for name, value in vars(node).items() if name[0] != "_" and (log is None or value is not log)}


def _brief(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in fields.items())


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= MOST_LETTERS else f"{shown[: MOST_LETTERS - 3]}..."
