"""Each system against the bare programs, started by hand with the same settings, in turns in one process.

For every system: start to the first answer, memory of all its processes, and stop; for clusters that replace a leader,
the time from its end to the next acknowledged write. And the four stores of lesson 08, all at once, against the
slowest of them alone. A part of it: ``bench services/kafka3``, ``bench services/stores``. (gRPC and Thrift have nothing
to start: a server of theirs is the learner's own Python.)
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator

import psutil

from labsupport.services import (
    Cassandra,
    CeleryWorkers,
    DynamoDB,
    Etcd,
    Gearman,
    Kafka,
    Nats,
    RabbitMQ,
    Redis,
    RedisCluster,
    Service,
    Spark,
    ZooKeeper,
    start_all,
)
from tests.bench import failovers, floors_by_hand, floors_planned, pictures
from tests.bench.floors_by_hand import Bare

ROUNDS, QUICK_ROUNDS = 11, 5
FAILOVERS, QUICK_FAILOVERS = 5, 1
# Times as many where the time is short or differs by more than a tenth from start to start, and where the wait for an
# election, drawn by lot, is most of it: a single etcd waits 10 to 100 ms, three 50 to 500. Of 80 rounds of three, two
# medians of the same thing are a tenth apart once in twelve times, of 300 once in a hundred. Three NATS servers take
# 250 to 750, half of them less than 380: with 84 rounds the medians were a sixth apart, once. The stores take eight
# seconds, one more or less by the luck of Cassandra's gossip.
MORE_ROUNDS: dict[object, int] = {(Nats, 1): 4, (Redis, 1): 2, (Gearman, 1): 4, (DynamoDB, 1): 4, (RabbitMQ, 3): 2}
MORE_ROUNDS |= {(Nats, 3): 20, (Etcd, 3): 30, (Etcd, 1): 25, "stores": 2}
GOAL = 1.10
CASES = [(kind, nodes) for kind in (Nats, Redis, Etcd, RabbitMQ, ZooKeeper, Kafka, Cassandra) for nodes in (1, 3)]
CASES += [(RedisCluster, 3), (DynamoDB, 1), (Gearman, 1), (Spark, 2), (CeleryWorkers, 2)]
STORES = [(Redis, 3), (Etcd, 3), (Cassandra, 3), (DynamoDB, 1)]  # those of lesson 08
START, MEMORY, FAILOVER, STOP = "start to first answer", "memory", "leader killed to next write", "stop"
picture = functools.partial(pictures.compare, measures=(START, MEMORY, FAILOVER, STOP))


def rows(quick: bool = False, part: str = "") -> Iterator[dict]:
    """The rows of the systems whose name and size has `part` in it ("stores" for those of lesson 08 at once)."""
    for kind, nodes in CASES:
        if part.lower() in f"{kind.__name__}{nodes}".lower():
            yield from _or_failed(_name(kind, nodes), functools.partial(_system, kind, nodes, quick))
    if part in ("", "stores"):
        yield from _or_failed("stores", functools.partial(_stores, quick))


def _name(kind: type, nodes: int) -> str:
    return f"{kind.__name__} × {nodes}"


def _or_failed(name: str, measured: Callable[[], Iterator[dict]]) -> Iterator[dict]:
    """The rows, or one that says why there are none: the other systems are measured all the same."""
    try:
        yield from measured()
    except Exception as error:
        said = " ".join(str(error).splitlines()[:2]) or type(error).__name__  # what happened, and the likely cause
        yield {"case": name, "value": f"failed: {said}", "unit": "", "goal": "it can be measured", "holds": False}


def _rounds(case: object, quick: bool) -> int:
    return (QUICK_ROUNDS if quick else ROUNDS) * MORE_ROUNDS.get(case, 1)


# ---- one system


def _system(kind: type, nodes: int, quick: bool) -> Iterator[dict]:
    with contextlib.ExitStack() as beside:
        make = functools.partial(kind, nodes=nodes)
        if kind is CeleryWorkers:
            rabbit, redis = start_all(RabbitMQ(), Redis())
            beside.callback(rabbit.stop)
            beside.callback(redis.stop)
            make = functools.partial(kind, nodes=nodes, broker=rabbit, backend=redis)
        sides = functools.partial(_by_hand, make), functools.partial(_by_the_course, make)
        for side in sides:  # programs in memory, the guard and the caches there
            with side():
                pass
        rounds = _rounds((kind, nodes), quick)
        (floor_starts, floor_memory, floor_stops), (starts, memory, stops) = _in_turns(sides, rounds, _life)
        name = _name(kind, nodes)
        yield _row(f"{name}: {START}", "ms", starts, floor_starts, goal=True)
        yield _row(f"{name}: {MEMORY}", "MiB", memory, floor_memory)
        yield _row(f"{name}: {STOP}", "ms", stops, floor_stops)
        if nodes > 1 and kind in failovers.SYSTEMS:
            rounds = QUICK_FAILOVERS if quick else FAILOVERS
            (floor_times,), (times,) = _in_turns(sides, rounds, functools.partial(_failover, kind))
            yield _row(f"{name}: {FAILOVER}", "ms", times, floor_times)


@contextlib.contextmanager
def _by_hand(make: Callable[[], Service]) -> Iterator[tuple[Bare, float]]:
    """The bare programs, and the ms until they answered."""
    bare, service = Bare(), make()
    try:
        by_hand = floors_by_hand.FLOORS.get(type(service))
        timed = by_hand(bare, service.size) if by_hand else floors_planned.floor(service, bare)
        began = time.perf_counter()
        timed()
        yield bare, (time.perf_counter() - began) * 1000
    finally:
        bare.stop()


class _Ours:
    """A service with the same handles as `Bare`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.nodes = {node.name: node.port for node in service.nodes}
        self.password = service.password
        self.stop = service.stop

    def pids(self) -> list[int]:
        return [node.pid for node in [*self.service._nodes, *self.service._others]]

    def kill(self, index: int) -> None:
        self.service.nodes[index].kill()


@contextlib.contextmanager
def _by_the_course(make: Callable[[], Service]) -> Iterator[tuple[_Ours, float]]:
    service = make()
    began = time.perf_counter()
    with service:
        yield _Ours(service), (time.perf_counter() - began) * 1000


def _in_turns(sides: tuple, rounds: int, measure: Callable) -> list[list[tuple]]:
    """For each side its series of numbers: who begins changes from round to round."""
    found = [], []
    for turn in range(rounds):
        for side in (0, 1)[:: 1 if turn % 2 else -1]:
            with sides[side]() as started:
                found[side].append(measure(*started))
    return [list(zip(*numbers, strict=True)) for numbers in found]


def _life(started: Bare | _Ours, start_ms: float) -> tuple[float, float, float]:
    memory = _memory_mb(started.pids())
    began = time.perf_counter()
    started.stop()
    return start_ms, memory, (time.perf_counter() - began) * 1000


def _failover(kind: type, started: Bare | _Ours, _start_ms: float) -> tuple[float]:
    ports = list(started.nodes.values())
    return (failovers.failover_ms(kind, ports, started.password, started.kill),)


def _memory_mb(pids: list[int]) -> float:
    """What processes and their children hold; where the system tells (Linux), shared pages count in parts."""
    total = 0
    for pid in pids:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                held = process.memory_full_info()
                total += getattr(held, "pss", held.rss)
    return total / 2**20


# ---- several at once


def _stores(quick: bool) -> Iterator[dict]:
    """The four stores of lesson 08 together, and in the same rounds each alone."""

    def took_ms(*cases: tuple[type, int]) -> float:
        services = [kind(nodes=nodes) for kind, nodes in cases]
        began = time.perf_counter()
        start_all(*services)
        took = (time.perf_counter() - began) * 1000
        for service in services:
            service.stop()
        return took

    took_ms(*STORES)
    together: list[float] = []
    alone: dict[tuple[type, int], list[float]] = {store: [] for store in STORES}
    for _ in range(_rounds("stores", quick)):
        together.append(took_ms(*STORES))
        for store in STORES:
            alone[store].append(took_ms(store))
    slowest = max(STORES, key=lambda store: statistics.median(alone[store]))
    names = [_name(*store) for store in STORES]
    row = _row(f"{', '.join(names)} at once: {START}", "ms", together, alone[slowest], goal=True)
    yield {**row, "baseline": f"{_name(*slowest)} alone", "goal": f"at most {GOAL} times the slowest alone"}


def _row(case: str, unit: str, ours: list[float], floors: list[float], *, goal: bool = False) -> dict:
    value, baseline = statistics.median(ours), statistics.median(floors)
    row = {
        "case": case,
        "value": round(value, 1),
        "unit": unit,
        "baseline": "the bare program by hand",
        "baseline_value": round(baseline, 1),
        "ratio": round(value / baseline, 3),
    }
    promise = {"goal": f"at most {GOAL} times the bare program", "holds": value <= GOAL * baseline}
    return {**row, **(promise if goal else {})}
