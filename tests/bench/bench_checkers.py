"""How fast the checkers are, and that they agree with one that tries all orders.

CPU time, the least of several runs; memory is what the check allocates beside its history, and the history with it.
"""

from __future__ import annotations

import heapq
import importlib.util
import pathlib
import random
import sys
import time
import tracemalloc
from collections.abc import Callable

from labsupport.checkers.linearizability import linearizable
from labsupport.history import Ending, History, Operation

REPEATS = 3


def simulated(size: int, *, clients: int, seed: int, values: int = 0, cas: float = 0, crashed: float = 0) -> History:
    """A linearizable history of one register: clients call again at once, and take effect in between.

    Args:
        size: how many operations.
        clients: how many at once.
        seed: what is drawn from.
        values: how many different values are written; 0 means that each is new.
        cas: the part of the operations that are compare-and-set.
        crashed: the part that is never answered.
    """
    draw = random.Random(f"bench {seed}")
    state, made, operations = None, 0, []
    # (moment, what happens, client, operation under way)
    agenda = [(draw.expovariate(1), 0, client, None) for client in range(clients)]
    heapq.heapify(agenda)
    fresh_client = clients
    while agenda:
        moment, step, client, under_way = heapq.heappop(agenda)
        if step == 0:
            if made == size:
                continue
            made += 1
            roll = draw.random()
            value = draw.randrange(values) if values else made
            if roll < cas:
                expected = state if draw.random() < 0.7 else draw.randrange(values or made)
                under_way = ["cas", (expected, value), moment, None]
            else:
                under_way = ["write", value, moment, None] if roll < (1 + cas) / 2 else ["read", None, moment, None]
            heapq.heappush(agenda, (moment + draw.expovariate(1), 1, client, under_way))
        elif step == 1:
            kind, value, _, _ = under_way
            if kind == "read":
                under_way[3] = state
            elif kind == "write":
                state = value
            else:
                under_way[3] = state == value[0]
                state = value[1] if under_way[3] else state
            heapq.heappush(agenda, (moment + draw.expovariate(1), 2, client, under_way))
        else:
            kind, value, called, result = under_way
            if draw.random() < crashed:
                operations.append(Operation(client, kind, "x", value, None, called, None, Ending.UNKNOWN))
                client, fresh_client = fresh_client, fresh_client + 1
            else:
                operations.append(Operation(client, kind, "x", value, result, called, moment))
            heapq.heappush(agenda, (moment, 0, client, None))
    return History(operations)


def with_stale_read(history: History, *, at: float) -> History:
    """The history with the result of one read, at that part of it, replaced by what was written long before."""
    operations = list(history)
    reads = [place for place, op in enumerate(operations) if op.kind == "read" and op.ending is Ending.OK]
    place = reads[int(len(reads) * at)]
    old = operations[place - 200 if place > 200 else 0].result
    for earlier in reversed(operations[: max(place - 200, 1)]):
        if earlier.kind == "write" and earlier.value != operations[place].result:
            old = earlier.value
            break
    op = operations[place]
    operations[place] = Operation(op.client, op.kind, op.key, op.value, old, op.called, op.returned)
    return History(operations)


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least CPU time of several runs."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def megabytes(make: Callable[[], History]) -> float:
    """The peak memory of making a history and checking it."""
    tracemalloc.start()
    try:
        linearizable(make())
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _timed(case: str, history: History, goal_s: float, ok: bool) -> dict:
    finding = linearizable(history)
    seconds = cpu_seconds(lambda: linearizable(history))
    return {
        "bench": "checkers",
        "case": f"{case}: {finding.result.value} by {' '.join(finding.details['algorithms'])}",
        "value": round(seconds, 4),
        "unit": "s",
        "goal": f"at most {goal_s} s, and {'ok' if ok else 'a violation'}",
        "holds": seconds <= goal_s and bool(finding) is ok,
    }


def _reference():
    path = pathlib.Path(__file__).resolve().parents[1] / "checkers" / "reference.py"
    spec = importlib.util.spec_from_file_location("labsupport_reference", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def disagreements(count: int, *, seed: int = 1) -> tuple[int, int, int]:
    """On random small registers: how often we disagree with the reference, how many were legal, how many crashed."""
    reference = _reference()
    draw = random.Random(f"agree {seed}")
    different = legal = crashed = 0
    for _ in range(count):
        history = reference.random_register(
            draw,
            size=draw.randrange(3, 9),
            unique=draw.random() < 0.4,
            cas=draw.choice((0, 0, 0.3, 0.6)),
            crashed=draw.choice((0, 0.2, 0.3, 0.4)),
            clients=draw.choice((2, 3, 4)),
        )
        truth = reference.brute_force(history, None, reference.register)
        different += bool(linearizable(history)) is not truth
        legal += truth
        crashed += any(op.ending is Ending.UNKNOWN for op in history)
    return different, legal, crashed


def rows(quick: bool = False) -> list[dict]:
    """Speed, memory and agreement of the linearizability checker."""
    large, medium = (20_000, 2_000) if quick else (100_000, 10_000)
    unique = simulated(large, clients=5, seed=1)
    mixed = simulated(medium, clients=10, seed=2, values=5, cas=0.2)
    crashing = simulated(medium, clients=10, seed=3, values=5, cas=0.2, crashed=0.002)
    chained = simulated(medium, clients=10, seed=4, cas=0.2)
    found = [
        _timed(f"{large:,} operations, unique values, 5 clients", unique, 0.5, True),
        _timed(f"{large:,} operations, unique values, 1 stale read", with_stale_read(unique, at=0.9), 0.5, False),
        _timed(f"{medium:,} operations, 5 values, cas, 10 clients", mixed, 1.0, True),
        _timed(f"{medium:,} operations, unique values, cas, 10 clients", chained, 1.0, True),
        _timed(f"{medium:,} operations, 5 values, cas, 0.2 % crashed", crashing, 3.0, True),
    ]
    memory = megabytes(lambda: simulated(large, clients=5, seed=1))
    found.append(
        {
            "bench": "checkers",
            "case": f"{large:,} operations, unique values: memory with the history",
            "value": round(memory, 1),
            "unit": "MB",
            "goal": "at most 100 MB",
            "holds": memory <= 100,
        }
    )
    count = 5_000 if quick else 100_000
    different, legal, crashed = disagreements(count)
    found.append(
        {
            "bench": "checkers",
            "case": f"{count:,} random small histories ({legal:,} legal, {crashed:,} with crashes) against all orders",
            "value": different,
            "unit": "disagreements",
            "goal": "none",
            "holds": different == 0 and count // 5 < legal < count * 4 // 5,
        }
    )
    return found
