"""What the router of real processes is held to: messages per second between five Python nodes, and 25 nodes' start.

Six processes share the machine, so each case has two rows: wall-clock time, which other work on the machine spoils, and
what two free cores could carry by the CPU time of all six. The best of some rounds; a message is counted where it is
handed to its receiver's process.
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Iterator

import psutil

from labsupport.cluster.cluster import Cluster
from labsupport.faults import Faults, Link
from labsupport.messages import message
from labsupport.node import Node

BOUNCE = pathlib.Path(__file__).resolve().parents[1] / "cluster" / "programs" / "bounce.py"
GOAL = 30_000  # messages per second
TOKENS = 100  # that each node sends around at the same time


@message
class Begin:
    tokens: int


@message
class Token:
    number: int


class Bounces(Node):
    """Passes every token on."""

    def on_begin(self, message, sender, ctx):
        for number in range(message.tokens):
            ctx.send(ctx.peers[number % 4], Token(number))

    def on_token(self, message, sender, ctx):
        number = message.number + 1
        ctx.send(ctx.peers[number % 4], Token(number))


def _measure(program, rounds: int, **options) -> tuple[float, float]:
    """Messages per second of wall-clock time, and of CPU time of all six processes together; the best of each."""
    with Cluster(program, nodes=5, **options) as cluster:
        client = cluster.client()
        for name in cluster.names:
            client.send(name, {"type": "begin", "tokens": TOKENS})
        time.sleep(0.3)
        nodes = [psutil.Process(cluster.pid(name)) for name in cluster.names]
        by_wall, by_cpu, before = 0.0, 0.0, _clocks(cluster, nodes)
        for _ in range(rounds):
            time.sleep(1.0)
            after = _clocks(cluster, nodes)
            carried, wall_s, cpu_s = (new - old for new, old in zip(after, before, strict=True))
            by_wall, by_cpu, before = max(by_wall, carried / wall_s), max(by_cpu, carried / cpu_s), after
        if cluster.problems:
            raise RuntimeError(cluster.problems)
    return by_wall, by_cpu


def _clocks(cluster: Cluster, nodes: list[psutil.Process]) -> tuple[float, float, float]:
    """Messages carried, wall-clock seconds, CPU seconds of this process and of the nodes."""
    cpu_s = time.process_time() + sum(sum(node.cpu_times()[:2]) for node in nodes)
    return cluster.counts["servers"]["received"], time.perf_counter(), cpu_s


def _start_ms(nodes: int, rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        with Cluster(Bounces, nodes=nodes) as cluster:
            best = min(best, cluster.ready_ms)
    return best


def rows(quick: bool = False) -> Iterator[dict]:
    """See `labsupport.bench`."""
    rounds = 2 if quick else 5
    plain = [sys.executable, str(BOUNCE)]
    delayed = Faults(link=Link(delay_ms=1, distribution="exponential"))
    for case, program, options in (
        ("five Python programs", plain, {}),
        ("five Python programs, one write a message", plain, {"together": False}),
        ("five Python programs, delayed by 1 ms", plain, {"faults": delayed}),
        ("five processes of a Node class", Bounces, {}),
    ):
        by_wall, by_cpu = _measure(program, rounds, **{"together": True, **options})
        for how, speed in ((case, by_wall), (f"{case}, by CPU time of two cores", 2 * by_cpu)):
            goal, holds = f">= {GOAL:,} messages/s", speed >= GOAL
            yield {"case": how, "value": round(speed), "unit": "messages/s", "goal": goal, "holds": holds}
    ready = _start_ms(25, 1 if quick else 3)
    yield {"case": "25 nodes ready", "value": round(ready), "unit": "ms", "goal": "<= 10 s", "holds": ready <= 10_000}
