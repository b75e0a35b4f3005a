"""A step keeps its meaning when other steps are left out."""

from __future__ import annotations

import dataclasses

from labsupport.messages import message
from labsupport.node import Node
from labsupport.sim.scenario import Scenario
from labsupport.sim.steps import Step, Steps, steps_of


@message
class Said:
    number: int


@message
class Asked:
    pass


@message
class Answered:
    pass


class Speaker(Node):
    """Says its next number to n2, and a number of chance to itself, whenever one of its timers goes off."""

    def on_start(self, ctx):
        self.count, self.chance, self.heard = 0, [], []
        if ctx.me == "n1":
            for name in ("a", "b", "c"):
                ctx.set_timer(name, 1)

    def on_timer(self, name, ctx):
        self.count += 1
        self.chance.append((ctx.random.random(), ctx.random.choice(range(1000)), ctx.random.uniform(0, 1)))
        ctx.send("n2", Said(self.count))

    def on_said(self, message, sender, ctx):
        self.heard.append(message.number)


class Asker(Node):
    """n1 asks everybody for an answer, once and without end."""

    async def on_start(self, ctx):
        self.answers = 0
        for peer in ctx.peers if ctx.me == "n1" else ():
            ctx.spawn(self.ask(peer, ctx))

    async def ask(self, peer, ctx):
        await ctx.rpc(peer, Asked(), 1)
        self.answers += 1

    def on_asked(self, message, sender, ctx):
        ctx.reply(message, Answered())


def led(kind: type[Node], nodes: int, steps: list[Step]) -> tuple[Steps, list[Step]]:
    """The world after the steps that are possible, and those steps as they were taken."""
    world = Scenario(kind).steps(7, nodes)
    for step in steps:
        world.do(step)
    return world, steps_of(world.trace.records, world.drawn)


ALL = [*(Step("timer", "n1", name) for name in "abc"), Step("deliver", "n2", ("n1", "said", (2,)))]


def test_it_draws_what_it_has_drawn():
    world, (_, _, third, _) = led(Speaker, 2, ALL)
    again, (taken,) = led(Speaker, 2, [third])
    assert again["n1"].chance == world["n1"].chance[2:]
    assert taken.drawn == third.drawn != ()


def test_it_delivers_what_the_same_step_has_sent_though_that_says_something_else_now():
    world, (_, second, third, heard) = led(Speaker, 2, ALL)
    again, _ = led(Speaker, 2, [second, third, heard])
    assert (world["n2"].heard, again["n2"].heard) == ([2], [1])


def test_it_delivers_the_same_content_when_the_step_that_sent_it_is_gone():
    _, (first, _, third, heard) = led(Speaker, 2, ALL)
    again, _ = led(Speaker, 2, [first, third, heard])
    assert again["n2"].heard == [2]


def test_it_takes_an_answer_of_another_node_when_its_own_does_not_come():
    answer = Step("deliver", "n1", ("n2", "answered", ()))
    asked = [Step("deliver", name, ("n1", "asked", ())) for name in ("n2", "n3")]
    assert led(Asker, 3, [asked[1], answer])[0]["n1"].answers == 1
    assert led(Asker, 3, [*asked, answer, answer])[0]["n1"].answers == 2
    assert led(Asker, 3, [asked[0], answer, answer])[0]["n1"].answers == 1


def test_what_was_drawn_beyond_that_comes_from_the_stream():
    _, (first, *_) = led(Speaker, 2, ALL)
    short = dataclasses.replace(first, drawn=first.drawn[:1])
    assert led(Speaker, 2, [short])[0]["n1"].chance[0][0] == first.drawn[0]
    assert len(led(Speaker, 2, [short])[1][0].drawn) == len(first.drawn)
