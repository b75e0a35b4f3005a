"""broadcast: what one node was told, all nodes know in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from labsupport.checkers import convergence
from labsupport.checkers.finding import Finding
from labsupport.history import History
from labsupport.workloads.replies import LIST
from labsupport.workloads.topologies import topology
from labsupport.workloads.workload import Seat, Setting, Step, Talk, Workload


class Broadcast(Workload):
    """Half of the steps broadcast the next whole number, half of them read; at the end every client reads once."""

    name = "broadcast"
    ends_with_reads = True
    replies: ClassVar = {"topology": {}, "broadcast": {}, "read": {"messages": LIST}}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._next = 0

    def greeting(self, node: str) -> Step:
        return Step("topology", value=topology(self.setting.topology, self.setting.nodes))

    def step(self, seat: Seat) -> Step:
        if self.random.random() < 0.5:
            return Step("read")
        self._next += 1
        return Step("broadcast", value=self._next - 1)

    def talk(self, step: Step, seat: Seat) -> Talk:
        if step.kind == "read":
            return (yield {"type": "read"})["messages"] or []
        field = "topology" if step.kind == "topology" else "message"
        yield {"type": step.kind, field: step.value}

    def final_steps(self, seat: Seat) -> Iterator[Step]:
        yield Step("read")

    def check(self, history: History, final_from: float | None = None) -> Finding:
        return convergence.broadcast(history, final_from)
