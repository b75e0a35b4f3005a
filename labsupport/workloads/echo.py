"""echo: whatever is sent comes back."""

from __future__ import annotations

from typing import ClassVar

from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.values import canonical
from labsupport.history import Ending, History
from labsupport.workloads.replies import ANYTHING
from labsupport.workloads.workload import Seat, Step, Talk, Workload


class Echo(Workload):
    """Every answer equals its request; one without an answer is an error too."""

    name = "echo"
    idempotent = frozenset()
    replies: ClassVar = {"echo": {"echo": ANYTHING}}

    def step(self, seat: Seat) -> Step:
        return Step("echo", value=f"Please echo {self.random.randrange(128)}")

    def talk(self, step: Step, seat: Seat) -> Talk:
        return (yield {"type": "echo", "echo": step.value})["echo"]

    def check(self, history: History, final_from: float | None = None) -> Finding:
        anomalies = []
        for op in history:
            if op.ending is not Ending.OK:
                anomalies.append(Anomaly("no echo", f"{op.client} sent {op.value!r} and got no echo.", (), (op,)))
            elif canonical(op.result) != canonical(op.value):
                summary = f"{op.client} sent {op.value!r} and got {op.result!r}."
                anomalies.append(Anomaly("wrong echo", summary, (), (op,)))
        unknown = "" if len(history) else "Nothing was sent, so nothing can be said."
        return conclude("echo", anomalies, good=f"{len(history):,} echoes came back as sent.", unknown=unknown)
