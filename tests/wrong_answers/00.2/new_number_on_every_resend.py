"""Every message gets a number of its own, a resend too."""

from labsupport import Node, message


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Pinger(Node):
    def on_start(self, ctx):
        self.number, self.answered = 0, set()
        self.ping(ctx)

    def ping(self, ctx):
        self.number += 1
        ctx.send("ponger", Ping(self.number))
        ctx.set_timer("again", 0.2)

    def on_timer(self, name, ctx):
        if len(self.answered) < 5:
            self.ping(ctx)

    def on_pong(self, message, sender, ctx):
        if message.number not in self.answered and len(self.answered) < 5:
            self.answered.add(message.number)
            ctx.note("counted", total=len(self.answered))
            if len(self.answered) < 5:
                self.ping(ctx)
