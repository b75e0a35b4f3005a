"""What is known of a node's steps is what a whole world shows."""

from __future__ import annotations

import pytest

from labsupport.messages import message
from labsupport.node import Node
from labsupport.sim import exhaustive
from labsupport.sim.exhaustive import Limits
from labsupport.sim.properties import Property
from labsupport.sim.scenario import Scenario


@pytest.fixture(autouse=True)
def every_state_is_made_once_more(monkeypatch):
    """And compared with what is known of it."""
    monkeypatch.setattr(exhaustive, "CHECK_EVERY", 1)


@message
class Greeting:
    number: int


class Greets(Node):
    def on_start(self, ctx):
        self.got = 0
        for peer in ctx.peers:
            ctx.send(peer, Greeting(ctx.random.randrange(100)))

    def on_greeting(self, message, sender, ctx):
        self.got += message.number


@pytest.mark.parametrize("limits", [Limits(timers=3), Limits(timers=2, crashes=1), Limits(duplicates=1, timeouts=1)])
def test_a_raft_is_in_every_state_as_in_a_world_that_is_made_anew(limits, raft, scenario):
    kept = Scenario(raft("right").Raft, (3,), {}, scenario["properties"])
    assert exhaustive.search(kept, limits=Limits(**{**vars(limits), "states": 400})).states == 400


def test_messages_of_clients_are_part_of_a_life(raft, scenario):
    kept = Scenario(raft("right").Raft, (2,), {"c1": raft("figure_8").Writer}, scenario["properties"])
    assert exhaustive.search(kept, nodes=2, limits=Limits(states=300, clients=True)).states == 300


def test_a_node_that_looks_at_its_clock_is_taken_through_the_steps_of_all():
    class Clocked(Greets):
        def on_greeting(self, message, sender, ctx):
            self.got = ctx.now()

    done = exhaustive.search(Scenario(Clocked, (3,)), limits=Limits(crashes=1, depth=4))
    assert done.complete and done.states > 100


def test_a_property_that_looks_at_all_nodes_sees_the_whole_cluster():
    class NotAll(Property):
        def after(self, world, name, node):
            everyone = all(each is not None and each.got for each in world.nodes.values())
            return "all have been greeted" if everyone else ""

    done = exhaustive.search(Scenario(Greets, (3,), properties=(NotAll,)))
    assert {step.node for step in done.steps} == {"n1", "n2", "n3"} and len(done.steps) == 3


def test_what_is_found_happens_again_step_by_step(raft, scenario):
    kept = Scenario(raft("wrong/vote_not_saved").Wrong, (3,), {}, scenario["properties"])
    done = exhaustive.climb(kept)
    world = kept.steps(0, 3)
    assert all([world.do(step) for step in done.steps])
    assert str(world.violation) == str(done.violated)


def test_a_node_that_cannot_start_is_found_before_any_step():
    class Breaks(Greets):
        def on_start(self, ctx):
            raise KeyError(ctx.me)

    done = exhaustive.climb(Scenario(Breaks, (3,)))
    assert done.steps == [] and done.violated.name == "KeyError in on_start"
