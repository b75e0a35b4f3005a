"""The space-time diagram in text: a lane for each node, wide enough for its name."""

from __future__ import annotations

from labsupport import Node, World, drawn, message


@message
class Nudge:
    number: int


class Nudging(Node):
    def on_start(self, ctx):
        if ctx.me == "somebody":
            ctx.send("else", Nudge(1))

    def on_nudge(self, message, sender, ctx):
        ctx.note("heard")


def test_a_lane_is_as_wide_as_the_longest_name():
    world = World({"somebody": Nudging, "else": Nudging}, seed=1)
    world.run()
    head, *lines = drawn(world.trace).splitlines()
    assert head.split() == ["somebody", "else"] and head.index("else") - head.index("somebody") == 10
    assert any(line[10:].startswith("o-------->| ") and "sends nudge(number=1) to else" in line for line in lines)
    assert sum("receives nudge(number=1) from somebody" in line for line in lines) == 1
