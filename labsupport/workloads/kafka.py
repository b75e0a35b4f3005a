"""kafka: append-only logs, one for each key, with offsets that clients keep and commit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from labsupport.checkers.finding import Finding
from labsupport.checkers.kafka import partitioned_log
from labsupport.history import Ending, History
from labsupport.workloads.keys import Keys
from labsupport.workloads.replies import INTEGER, MESSAGES, OFFSETS
from labsupport.workloads.workload import CRASH, Attempt, Seat, Setting, Step, Talk, Workload

ASSIGNS = 1 / 16  # the share of steps that choose new keys (Jepsen's 1 / 64 needs longer runs than a lesson has)
CRASHES = 1 / 500  # the share of steps after which the client is replaced by a fresh one
BEGINNING = "beginning"  # what an assign names that does not ask for committed offsets


class Kafka(Workload):
    """Clients send and poll, choose the keys that they poll, and are now and then replaced; at the end each polls all.

    A client assigns itself keys, starts at its own place in a key, else at the committed offset, else at 0, and commits
    what it has polled. Where a commit fails it polls the same again, so that a right node is never accused of a skip.
    """

    name = "kafka"
    idempotent = frozenset({"assign"})
    ends_with_reads = True
    final_pause_s = 0.2
    final_limit_s = 10.0
    replies: ClassVar = {
        "send": {"offset": INTEGER},
        "poll": {"msgs": MESSAGES},
        "commit_offsets": {},
        "list_committed_offsets": {"offsets": OFFSETS},
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._keys = Keys(self.random, setting.key_count, setting.max_writes_per_key)
        self._highest: dict[str, int] = {}  # the highest offset of each key that anybody was told
        self._unread: dict[str, int] = {}  # the same, of keys whose highest was not polled yet

    def step(self, seat: Seat) -> Step:
        drawn = self.random.random()
        if drawn < CRASHES:
            return Step(CRASH)
        if drawn < CRASHES + ASSIGNS:
            return self._assign()
        if self.random.random() < 0.5:
            key, value = self._keys.write()
            return Step("send", str(key), value)
        return Step("poll") if seat.memory.get("next") else self._assign()

    def _assign(self) -> Step:
        keys = [str(self._keys.any())]
        if self.random.random() < 1 / 3:
            keys = sorted({*keys, *self._unread})
        return Step("assign", value=keys)

    def talk(self, step: Step, seat: Seat) -> Talk:
        following = seat.memory.setdefault("next", {})
        if step.kind == "send":
            return (yield {"type": "send", "key": step.key, "msg": step.value})["offset"]
        if step.kind == "poll":
            told = (yield {"type": "poll", "offsets": dict(following)})["msgs"]
            polled = {key: pairs or [] for key, pairs in told.items()}
            seen = {key: max(offset for offset, _ in pairs) for key, pairs in polled.items() if pairs}
            if seen:
                yield {"type": "commit_offsets", "offsets": seen}
            for key, offset in seen.items():
                following[key] = max(following.get(key, 0), offset + 1)
            return polled
        if step.key == BEGINNING:
            seat.memory["next"] = dict.fromkeys(step.value, 0)
        else:
            committed = (yield {"type": "list_committed_offsets", "keys": step.value})["offsets"]
            seat.memory["next"] = {key: following.get(key, committed.get(key, 0)) for key in step.value}

    def heard(self, step: Step, attempt: Attempt) -> None:
        if attempt.ending is not Ending.OK:
            return
        if step.kind == "send":
            self._learn(step.key, attempt.result)
        elif step.kind == "poll":
            for key, pairs in attempt.result.items():
                for offset, _ in pairs:
                    self._learn(key, offset)
                    if offset >= self._unread.get(key, offset):
                        self._unread.pop(key, None)

    def _learn(self, key: str, offset: int) -> None:
        if offset > self._highest.get(key, -1):
            self._highest[key] = self._unread[key] = offset

    def final_steps(self, seat: Seat) -> Iterator[Step]:
        """A fresh client polls every key from its beginning, until it has seen the highest offset that is known."""
        wanted = dict(self._highest)
        yield Step(CRASH)
        while wanted:
            if "next" not in seat.memory:
                yield Step("assign", BEGINNING, sorted(self._highest))
            yield Step("poll")
            following = seat.memory.get("next", {})
            wanted = {key: offset for key, offset in wanted.items() if following.get(key, 0) <= offset}

    def check(self, history: History, final_from: float | None = None) -> Finding:
        return partitioned_log(history, complete=final_from is not None)
