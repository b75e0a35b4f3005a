"""Sends each ping once."""

from labsupport import Node, message


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Pinger(Node):
    def on_start(self, ctx):
        self.number = 1
        ctx.send("ponger", Ping(self.number))

    def on_pong(self, message, sender, ctx):
        if message.number == self.number:
            ctx.note("counted", total=self.number)
            self.number += 1
            if self.number <= 5:
                ctx.send("ponger", Ping(self.number))
