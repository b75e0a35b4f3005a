"""txn-rw-register: transactions that write and read registers."""

from __future__ import annotations

from typing import Any

from labsupport.workloads.txn_list_append import TxnListAppend


class TxnRwRegister(TxnListAppend):
    """As txn-list-append, with writes that replace; the order of versions shows only where one read comes before a
    write in the same transaction, so much less can be found."""

    name = "txn-rw-register"
    checked_as = "rw-register"
    writes = "w"

    def may_read(self, value: Any) -> bool:
        return True
