"""unique-ids: no id is handed out twice."""

from __future__ import annotations

from typing import ClassVar

from labsupport.checkers.finding import Finding
from labsupport.checkers.ids import unique_ids
from labsupport.history import History
from labsupport.workloads.replies import ANYTHING
from labsupport.workloads.workload import Seat, Step, Talk, Workload


class UniqueIds(Workload):
    """Clients ask for ids, any JSON."""

    name = "unique-ids"
    idempotent = frozenset()
    replies: ClassVar = {"generate": {"id": ANYTHING}}

    def step(self, seat: Seat) -> Step:
        return Step("generate")

    def talk(self, step: Step, seat: Seat) -> Talk:
        return (yield {"type": "generate"})["id"]

    def check(self, history: History, final_from: float | None = None) -> Finding:
        return unique_ids(history)
