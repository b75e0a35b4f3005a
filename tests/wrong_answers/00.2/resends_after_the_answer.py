"""A timer for each number, which nobody cancels."""

from labsupport import Node, message


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Pinger(Node):
    def on_start(self, ctx):
        self.answered = set()
        self.ping(1, ctx)

    def ping(self, number, ctx):
        ctx.send("ponger", Ping(number))
        ctx.set_timer(f"ping {number}", 0.2)

    def on_timer(self, name, ctx):
        self.ping(int(name.removeprefix("ping ")), ctx)

    def on_pong(self, message, sender, ctx):
        if message.number not in self.answered:
            self.answered.add(message.number)
            ctx.note("counted", total=len(self.answered))
            if message.number < 5:
                self.ping(message.number + 1, ctx)
