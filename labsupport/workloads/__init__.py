"""Maelstrom's workloads: what clients ask of a cluster, what an answer means, and what has to hold in the end.

A workload has no thread, clock or socket. It draws the next `Step` of a client, turns a step into requests and reads
the answers, and judges the history; somebody else carries the requests: `running` to processes, `simulated` in a
`World`.

    from labsupport.workloads import Setting, workload
    broadcast = workload("broadcast", Setting(nodes=("n1", "n2", "n3")))

Source: the workloads of Maelstrom, https://github.com/jepsen-io/maelstrom, doc/workloads.md, and those of Jepsen from
which they are made; the differences are said where they are.
"""

from __future__ import annotations

import importlib

from labsupport.errors import LearnerError
from labsupport.workloads.workload import Attempt, Seat, Setting, Step, Workload

# The class of each workload; its module is imported when it is asked for.
WORKLOADS = {
    "echo": "Echo",
    "unique-ids": "UniqueIds",
    "broadcast": "Broadcast",
    "g-set": "GSet",
    "g-counter": "GCounter",
    "pn-counter": "PnCounter",
    "kafka": "Kafka",
    "lin-kv": "LinKv",
    "txn-list-append": "TxnListAppend",
    "txn-rw-register": "TxnRwRegister",
}

__all__ = ["WORKLOADS", "Attempt", "Seat", "Setting", "Step", "Workload", "workload"]


def workload(name: str, setting: Setting) -> Workload:
    """The workload of that name.

    Raises:
        LearnerError: there is none.
    """
    if name not in WORKLOADS:
        raise LearnerError(f"There is no workload {name!r}.", do=f"choose one of {', '.join(WORKLOADS)}")
    module = importlib.import_module(f"labsupport.workloads.{name.replace('-', '_')}")
    return getattr(module, WORKLOADS[name])(setting)
