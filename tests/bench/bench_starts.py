"""Start after start of every system, alone and as a cluster: how many fail, and how long they take.

Two hundred of each that starts in well under a second, twenty of each other. A part of it: ``bench starts/kafka3``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

from labsupport.services import DynamoDB, Etcd, Gearman, Nats, Redis
from tests.bench.bench_services import CASES

LIGHT = {Nats, Redis, Etcd, Gearman, DynamoDB}
STARTS, QUICK_STARTS = {True: 200, False: 20}, {True: 10, False: 2}


def rows(quick: bool = False, part: str = "") -> Iterator[dict]:
    """For each system whose name and size has `part` in it: the failures, and the median of the starts."""
    for kind, nodes in CASES:
        if part.lower() not in f"{kind.__name__}{nodes}".lower():
            continue
        count = (QUICK_STARTS if quick else STARTS)[kind in LIGHT]
        took, failed = [], 0
        for _ in range(count):
            service, began = kind(nodes=nodes), time.perf_counter()
            try:
                service.start()
                took.append((time.perf_counter() - began) * 1000)
            except Exception as error:  # of whatever kind: it is counted, and the next start is another chance
                failed += 1
                print(error, file=sys.stderr)
            finally:
                service.stop()
        name = f"{kind.__name__} × {nodes}"
        yield {
            "case": f"{name}: {count} starts that failed",
            "value": failed,
            "unit": "starts",
            "goal": "0",
            "holds": not failed,
        }
        if took:
            case = f"{name}: start to first answer, median (worst {max(took):.0f} ms)"
            yield {"case": case, "value": round(statistics.median(took), 1), "unit": "ms"}
