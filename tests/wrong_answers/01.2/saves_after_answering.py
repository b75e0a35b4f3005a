"""The answer leaves before the counter is safe."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_start(self, ctx):
        self.count = ctx.load("count", 0)

    def on_generate(self, message, sender, ctx):
        self.count += 1
        ctx.reply(message, GenerateOk(f"{ctx.me}-{self.count}"))
        ctx.save(count=self.count)
