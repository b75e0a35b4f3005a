"""A loop that sleeps; a set remembers what was answered."""

from labsupport import Node, message


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Pinger(Node):
    async def on_start(self, ctx):
        self.answered = set()
        for number in range(1, 6):
            while number not in self.answered:
                ctx.send("ponger", Ping(number))
                await ctx.sleep(0.2)

    def on_pong(self, message, sender, ctx):
        if message.number not in self.answered:
            self.answered.add(message.number)
            ctx.note("counted", total=len(self.answered))
