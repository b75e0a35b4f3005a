"""pn-counter: a counter that grows and shrinks, and is the sum of all that was added in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from labsupport.checkers.convergence import counter_total
from labsupport.checkers.finding import Finding
from labsupport.history import History
from labsupport.workloads.replies import INTEGER
from labsupport.workloads.workload import Seat, Step, Talk, Workload, final_reads_only


class PnCounter(Workload):
    """Half of the steps add a number from -5 to 4, half of them read; only the final reads are judged."""

    name = "pn-counter"
    maps_errors = False  # as in Maelstrom
    ends_with_reads = True
    lowest = -5
    replies: ClassVar = {"add": {}, "read": {"value": INTEGER}}

    def step(self, seat: Seat) -> Step:
        if self.random.random() < 0.5:
            return Step("read")
        return Step("add", value=self.random.randrange(self.lowest, 5))

    def talk(self, step: Step, seat: Seat) -> Talk:
        if step.kind == "read":
            return (yield {"type": "read"})["value"]
        yield {"type": "add", "delta": step.value}

    def final_steps(self, seat: Seat) -> Iterator[Step]:
        yield Step("read")

    def check(self, history: History, final_from: float | None = None) -> Finding:
        return counter_total(final_reads_only(history, final_from))
