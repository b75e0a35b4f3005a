"""What the router of real processes is held to: messages per second between five Python nodes, and 25 nodes' start.

Wall-clock time, because six processes share the machine; the best of some rounds. Every message is counted where it is
handed to its receiver's process.
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Iterator

from labsupport.cluster.cluster import Cluster
from labsupport.faults import Faults, Link
from labsupport.messages import message
from labsupport.node import Node

BOUNCE = pathlib.Path(__file__).resolve().parents[1] / "cluster" / "programs" / "bounce.py"
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


def _messages_per_s(program, rounds: int, **options) -> float:
    with Cluster(program, nodes=5, **options) as cluster:
        client = cluster.client()
        for name in cluster.names:
            client.send(name, {"type": "begin", "tokens": TOKENS})
        time.sleep(0.3)
        best = 0.0
        for _ in range(rounds):
            began, before = time.perf_counter(), cluster.counts["servers"]["received"]
            time.sleep(1.0)
            best = max(best, (cluster.counts["servers"]["received"] - before) / (time.perf_counter() - began))
        if cluster.problems:
            raise RuntimeError(cluster.problems)
    return best


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
        ("five plain Python programs, traced", plain, {}),
        ("five plain Python programs, one write a message, traced", plain, {"together": False}),
        ("five plain Python programs, traced, delayed by 1 ms", plain, {"faults": delayed}),
        ("five processes of a Node class, traced", Bounces, {}),
    ):
        speed = _messages_per_s(program, rounds, **{"together": True, **options})
        yield {
            "case": case,
            "value": round(speed),
            "unit": "messages/s",
            "goal": ">= 30,000 messages/s",
            "holds": speed >= 30_000,
        }
    ready = _start_ms(25, 1 if quick else 3)
    yield {"case": "25 nodes ready", "value": round(ready), "unit": "ms", "goal": "<= 10 s", "holds": ready <= 10_000}
