"""lin-kv: a store of keys and values that behaves as if there were one copy."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from labsupport.checkers.finding import Finding
from labsupport.checkers.linearizability import linearizable
from labsupport.history import History
from labsupport.workloads.replies import ANYTHING
from labsupport.workloads.workload import Seat, Setting, Step, Talk, Workload

VALUES = 5  # few, so that a cas often finds what it compares with
CLIENTS_PER_KEY = 20  # every client that gave up may leave an unanswered write, and each doubles the search
STEPS_PER_KEY = 200  # Maelstrom goes on with one key for ever; new keys also show what happens to a key at its birth


@dataclasses.dataclass
class _Group:
    """Seats that work on one key at a time."""

    key: int = -1
    steps_left: int = 0
    clients: set[str] = dataclasses.field(default_factory=set)


class LinKv(Workload):
    """Groups of two clients for each node work on one key after the other; half of them read, half write or cas."""

    name = "lin-kv"
    replies: ClassVar = {"read": {"value": ANYTHING}, "write": {}, "cas": {}}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._group_size = min(2 * len(setting.nodes), setting.concurrency)
        self._groups = [_Group() for _ in range(-(-setting.concurrency // self._group_size))]
        self._next_key = 0

    @property
    def timeout_s(self) -> float:
        """Ten times the mean delay, at least a second."""
        return max(10 * self.setting.latency_ms / 1000, 1.0)

    def step(self, seat: Seat) -> Step:
        number, place = divmod(seat.number, self._group_size)
        key = self._key(self._groups[number], seat.client)
        reads = place < self._group_size // 2 if self._group_size > 1 else self.random.random() < 0.5
        if reads:
            return Step("read", key)
        if self.random.random() < 1 / 3:
            return Step("write", key, self.random.randrange(VALUES))
        return Step("cas", key, [self.random.randrange(VALUES), self.random.randrange(VALUES)])

    def _key(self, group: _Group, client: str) -> int:
        if not group.steps_left or (client not in group.clients and len(group.clients) >= CLIENTS_PER_KEY):
            # Not all keys get equally many steps, or all groups would begin new keys at the same time.
            group.key, group.clients = self._next_key, set()
            group.steps_left = round(STEPS_PER_KEY * self.random.uniform(0.9, 1))
            self._next_key += 1
        group.steps_left -= 1
        group.clients.add(client)
        return group.key

    def talk(self, step: Step, seat: Seat) -> Talk:
        if step.kind == "read":
            return (yield {"type": "read", "key": step.key})["value"]
        if step.kind == "write":
            yield {"type": "write", "key": step.key, "value": step.value}
        else:
            yield {"type": "cas", "key": step.key, "from": step.value[0], "to": step.value[1]}
            return True

    def check(self, history: History, final_from: float | None = None) -> Finding:
        return linearizable(history)
