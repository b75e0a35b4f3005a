"""One node counts for all of them."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class Count:
    pass


@message
class CountOk:
    count: int


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_start(self, ctx):
        self.count = ctx.load("count", 0)

    def on_count(self, message, sender, ctx):
        self.count += 1
        ctx.save(count=self.count)
        ctx.reply(message, CountOk(self.count))

    async def on_generate(self, message, sender, ctx):
        counted = await ctx.rpc("n1", Count(), timeout_s=30)
        ctx.reply(message, GenerateOk(counted.count))
