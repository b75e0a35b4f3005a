"""Figure 8 of the Raft paper as stages, with three nodes."""

from __future__ import annotations

from right import Write

from labsupport.node import Node
from labsupport.sim.exhaustive import Limits
from labsupport.sim.staged import Stage


class Writer(Node):
    """Asks a node to write whenever the timer of that name goes off."""

    def on_start(self, ctx):
        self.value = 0
        for peer in ctx.peers:
            ctx.set_timer(peer, 1)

    def on_timer(self, name, ctx):
        self.value += 1
        ctx.send(name, Write(self.value))

    def on_write_ok(self, message, sender, ctx):
        pass

    def on_error(self, message, sender, ctx):
        pass


def leads(world, name):
    return world[name] is not None and world[name].role == "leader"


def has_written(world, name):
    return leads(world, name) and any(isinstance(entry["command"], int) for entry in world[name].log)


def newest(world, name):
    return world[name].log[-1]["term"]


def old_entry_is_on_a_majority(world):
    first = world["n1"].log[0]["term"]
    copied = world["n2"].log and world["n2"].log[0]["term"] == first
    return copied and leads(world, "n1") and world["n1"].term > newest(world, "n3") and world["n1"].match["n2"] > 0


STAGES = (
    Stage(
        "n1 leads and keeps an entry to itself",
        lambda world: has_written(world, "n1") and not world["n2"].log,
        only=("n1", "n2", "c1"),
    ),
    Stage(
        "n3 leads a later term and keeps an entry to itself",
        lambda world: has_written(world, "n3") and newest(world, "n3") > newest(world, "n1") and not world["n2"].log,
        only=("n3", "n2", "c1"),
    ),
    Stage(
        "n1 leads again and copies its old entry",
        old_entry_is_on_a_majority,
        only=("n1", "n2"),
        limits=Limits(states=20_000, depth=16, timers=3, crashes=1, clients=True),
    ),
    Stage(
        "n3 leads once more",
        None,
        only=("n3", "n2"),
        limits=Limits(states=3_000, depth=16, timers=3, crashes=1, clients=True),
    ),
)
