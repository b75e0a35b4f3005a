"""Runs to draw: one in which everything happens that a picture can show."""

from __future__ import annotations

import pytest

from labsupport import Faults, Link, Node, World, message
from labsupport.sim.properties import Violated
from labsupport.trace import Trace


@message
class Ask:
    number: int


@message
class Answer:
    number: int


class Server(Node):
    def on_start(self, ctx):
        ctx.set_timer("tick", 0.03)

    def on_timer(self, name, ctx):
        ctx.save(ticks=1)
        ctx.set_timer("tick", 0.03)
        for peer in ctx.peers:
            ctx.send(peer, Answer(0))

    def on_ask(self, message, sender, ctx):
        ctx.note("asked", number=message.number)
        ctx.reply(message, Answer(message.number))

    def on_answer(self, message, sender, ctx):
        pass


class Client(Node):
    def on_start(self, ctx):
        ctx.spawn(self.work(ctx))

    async def work(self, ctx):
        for number in range(10_000):
            asked = ctx.call("read", key="x<y")
            try:
                answer = await ctx.rpc("n1", Ask(number), timeout_s=0.05)
                ctx.returned(asked, answer.number)
            except TimeoutError:
                ctx.gave_up(asked)
            await ctx.sleep(0.02)

    def on_answer(self, message, sender, ctx):
        pass


def eventful(until_s: float = 0.6) -> Trace:
    """Losses, duplicates, overtaking, a crash, a pause, a partition, operations, and a violation at the end."""
    faults = Faults(link=Link(delay_ms=40, loss=0.2, duplicate=0.2))
    world = World(Server, nodes=3, seed=3, clients={"c1": Client}, faults=faults)
    world.advance(until_s / 6)
    world.crash("n2")
    world.advance(until_s / 3)
    world.restart("n2")
    world.pause("n3")
    world.advance(until_s / 2)
    world.resume("n3")
    world.cut([("n1", "n3"), ("n3", "n1")])
    world.advance(until_s * 2 / 3)
    world.heal()
    world.advance(until_s)
    world._acting = world.hosts["n1"]
    world._end(Violated("Never", "n1 said <b>no</b>"))
    return world.trace


@pytest.fixture(scope="session")
def trace() -> Trace:
    return eventful()
