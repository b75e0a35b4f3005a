"""txn-rw-register: transactions that write and read registers."""

from __future__ import annotations

from typing import Any

from labsupport.workloads.replies import is_integer
from labsupport.workloads.txn_list_append import TxnListAppend
from labsupport.workloads.workload import Seat, Step, Talk


class TxnRwRegister(TxnListAppend):
    """As txn-list-append, with writes that replace; the order of versions shows only where one read comes before a
    write in the same transaction, so much less can be found."""

    name = "txn-rw-register"
    checked_as = "rw-register"
    writes = "w"

    def may_read(self, value: Any) -> bool:
        return True

    def talk(self, step: Step, seat: Seat) -> Talk:
        """As for lists; a 0, which nobody writes, is what many languages give for a key that they do not have.

        The protocol wants null there, but Maelstrom does not mind.
        """
        done = yield from super().talk(step, seat)
        zeros = [
            place for place, (what, _, value) in enumerate(done) if what == "r" and value == 0 and is_integer(value)
        ]
        for place in zeros:
            done[place][2] = None
            remark = f"{seat.node} read 0 where nothing was written; the protocol wants null. It was taken for null."
            self.remarks.setdefault(remark)
        return done
