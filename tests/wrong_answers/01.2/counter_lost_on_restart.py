"""The counter lives in memory, and a crash sets it back."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_start(self, ctx):
        self.count = 0

    def on_generate(self, message, sender, ctx):
        self.count += 1
        ctx.reply(message, GenerateOk(f"{ctx.me}-{self.count}"))
