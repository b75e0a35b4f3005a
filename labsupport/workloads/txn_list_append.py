"""txn-list-append: transactions that append to lists and read them whole."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, ClassVar

from labsupport.checkers.finding import Finding, Result
from labsupport.checkers.transactions import transactions
from labsupport.history import History
from labsupport.workloads.keys import Keys
from labsupport.workloads.replies import STEPS, MalformedReply, is_list
from labsupport.workloads.workload import Seat, Setting, Step, Talk, Workload


class TxnListAppend(Workload):
    """Transactions of up to four operations, reads and appends, on a few keys that are much in demand."""

    name = "txn-list-append"
    idempotent = frozenset()
    checked_as = "list-append"
    writes = "append"
    replies: ClassVar = {"txn": {"txn": STEPS}}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._keys = Keys(self.random, setting.key_count, setting.max_writes_per_key)

    def step(self, seat: Seat) -> Step:
        steps = []
        for _ in range(self.random.randint(1, self.setting.max_txn_length)):
            reads = self.random.random() < 0.5
            steps.append(["r", self._keys.any(), None] if reads else [self.writes, *self._keys.write()])
        return Step("txn", value=steps)

    def talk(self, step: Step, seat: Seat) -> Talk:
        done = (yield {"type": "txn", "txn": step.value})["txn"]
        for asked, got in zip_longest(step.value, done):
            same = asked is not None and got is not None and got[:2] == asked[:2]
            if not same or not (self.may_read(got[2]) if got[0] == "r" else got == asked):
                raise MalformedReply(f"{seat.node} was asked for {asked} in a transaction, and answered {got}.")
        return done

    def may_read(self, value: Any) -> bool:
        """Whether a read may show this value."""
        return is_list(value)

    def check(self, history: History, final_from: float | None = None) -> Finding:
        findings = [transactions(history, self.checked_as, model) for model in self.setting.consistency_models]
        return min(findings, key=lambda finding: [Result.VIOLATION, Result.UNKNOWN, Result.OK].index(finding.result))
