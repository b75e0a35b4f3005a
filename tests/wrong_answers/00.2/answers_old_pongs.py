"""Counts right, but sends a ping for each pong."""

from labsupport import Node, message


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Pinger(Node):
    def on_start(self, ctx):
        self.number, self.counted = 1, 0
        self.ping(ctx)

    def ping(self, ctx):
        ctx.send("ponger", Ping(self.number))
        ctx.set_timer("again", 0.2)

    def on_timer(self, name, ctx):
        self.ping(ctx)

    def on_pong(self, message, sender, ctx):
        if message.number == self.number:
            self.counted += 1
            ctx.note("counted", total=self.counted)
            self.number += 1
        if self.number <= 5:
            self.ping(ctx)
        else:
            ctx.cancel_timer("again")
