"""Every node counts for itself, and says only the number."""

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
        ctx.save(count=self.count)
        ctx.reply(message, GenerateOk(self.count))
