"""The services that Maelstrom offers to nodes: lin-kv, seq-kv, lww-kv and lin-tso.

They do what Maelstrom's do, also where its pages promise something else: lww-kv has two replicas and its ``cas`` knows
no ``create_if_not_exists``. Each service is a function of the asking node and the body of its request.

Source: https://github.com/jepsen-io/maelstrom, doc/services.md and src/maelstrom/service.clj.
"""

from __future__ import annotations

import bisect
import json
import random
from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
REMEMBERED = 32  # states of seq-kv that a read may still see
REPLICAS = 2  # of lww-kv

_NOTHING = object()  # no value, or no change


def _exactly(value: Any) -> str:
    """A value as text, by which 1, 1.0, true and "1" differ."""
    return json.dumps(value, sort_keys=True)


def _error(code: int, text: str) -> Body:
    return {"type": "error", "code": code, "text": text}


def _act(body: Body, value: Any, may_create: bool) -> tuple[Body, Any]:
    """The answer to one request about a key with this value, and the key's new value."""
    what = body["type"]
    if what == "read":
        return (
            _error(20, "key does not exist") if value is _NOTHING else {"type": "read_ok", "value": value}
        ), _NOTHING
    if what == "write":
        return {"type": "write_ok"}, body.get("value")
    if value is _NOTHING:
        if may_create and body.get("create_if_not_exists"):
            return {"type": "cas_ok"}, body.get("to")
        return _error(20, "key does not exist"), _NOTHING
    if _exactly(value) != _exactly(body.get("from")):
        return _error(22, f"current value {_exactly(value)} is not {_exactly(body.get('from'))}"), _NOTHING
    return {"type": "cas_ok"}, body.get("to")


class LinKV:
    """One map, one copy of it."""

    def __init__(self, _: random.Random) -> None:
        self._values: dict[str, Any] = {}

    def __call__(self, client: str, body: Body) -> Body:
        key = _exactly(body["key"])
        answer, new = _act(body, self._values.get(key, _NOTHING), True)
        if new is not _NOTHING:
            self._values[key] = new
        return answer


class SeqKV:
    """Sequentially consistent: a client may see the past, and never goes back in it; changes happen in the present.

    What would change nothing in the state that was drawn for it happens there, so that a ``cas`` can fail on an old
    value; anything else happens in the newest state.
    """

    def __init__(self, stream: random.Random) -> None:
        self._random = stream
        self._last = 0
        self._seen: dict[str, int] = {}
        self._versions: dict[str, list[tuple[int, Any]]] = {}  # by key: since which state, which value

    def __call__(self, client: str, body: Body) -> Body:
        key = _exactly(body["key"])
        oldest = max(self._seen.get(client, 0), self._last - REMEMBERED + 1, 0)
        drawn = self._random.randint(oldest, self._last)
        value = self._value(key, drawn)
        answer, new = _act(body, value, True)
        if new is _NOTHING or (value is not _NOTHING and _exactly(new) == _exactly(value)):
            self._seen[client] = drawn
            return answer
        value = self._value(key, self._last)
        answer, new = _act(body, value, True)
        self._last += 1
        self._seen[client] = self._last
        if new is not _NOTHING:
            versions = self._versions.setdefault(key, [])
            versions.append((self._last, new))
            old = bisect.bisect_right(versions, self._last - REMEMBERED, key=lambda version: version[0])
            del versions[: max(0, old - 1)]
        return answer

    def _value(self, key: str, state: int) -> Any:
        versions = self._versions.get(key, [])
        place = bisect.bisect_right(versions, state, key=lambda version: version[0])
        return versions[place - 1][1] if place else _NOTHING


class LwwKV:
    """Replicas that are merged now and then, the last write wins; each request asks any one of them."""

    def __init__(self, stream: random.Random) -> None:
        self._random = stream
        self._clocks = [0] * REPLICAS
        self._values: list[dict[str, tuple[int, Any]]] = [{} for _ in range(REPLICAS)]

    def __call__(self, client: str, body: Body) -> Body:
        self._merge(self._random.randrange(REPLICAS), self._random.randrange(REPLICAS))
        place = self._random.randrange(REPLICAS)
        key = _exactly(body["key"])
        values = self._values[place]
        answer, new = _act(body, values[key][1] if key in values else _NOTHING, False)
        if new is not _NOTHING:
            values[key] = self._clocks[place], new
            self._clocks[place] += 1
        return answer

    def _merge(self, source: int, target: int) -> None:
        if source == target:
            return
        self._clocks[target] = max(self._clocks[source], self._clocks[target])
        mine = self._values[target]
        for key, entry in self._values[source].items():
            if key not in mine or entry[0] >= mine[key][0]:
                mine[key] = entry


class LinTSO:
    """Hands out timestamps: 0, 1, 2, ..."""

    def __init__(self, _: random.Random) -> None:
        self._next = 0

    def __call__(self, client: str, body: Body) -> Body:
        self._next += 1
        return {"type": "ts_ok", "ts": self._next - 1}


_KINDS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "lin-kv": (LinKV, ("read", "write", "cas")),
    "seq-kv": (SeqKV, ("read", "write", "cas")),
    "lww-kv": (LwwKV, ("read", "write", "cas")),
    "lin-tso": (LinTSO, ("ts",)),
}


class Service:
    """One service behind its name: what it cannot understand is answered with the protocol's errors 10 and 12."""

    def __init__(self, name: str, seed: int) -> None:
        kind, self.types = _KINDS[name]
        self.name = name
        self._answer = kind(random.Random(f"{seed}/service/{name}"))

    def handle(self, client: str, body: Body) -> Body:
        """The body of the answer to one request."""
        if body.get("type") not in self.types:
            answer = _error(10, f"{self.name} understands {', '.join(self.types)}, not {body.get('type')!r}")
        elif "key" not in body and self.types != ("ts",):
            answer = _error(12, f"a {body['type']} of {self.name} needs a key")
        else:
            answer = self._answer(client, body)
        return answer if body.get("msg_id") is None else {**answer, "in_reply_to": body["msg_id"]}
