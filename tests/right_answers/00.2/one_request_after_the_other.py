"""Lets ctx.rpc wait and match; asks again when it gives up."""

from labsupport import Node, message


@message
class Ping:
    number: int


@message
class Pong:
    number: int


class Pinger(Node):
    async def on_start(self, ctx):
        for number in range(1, 6):
            while not await self.answered(number, ctx):
                pass
            ctx.note("counted", total=number)

    async def answered(self, number, ctx):
        try:
            await ctx.rpc("ponger", Ping(number), timeout_s=0.2)
            return True
        except TimeoutError:
            return False

    def on_pong(self, message, sender, ctx):
        """Only an answer to a request that was sent without ctx.rpc would come here."""
