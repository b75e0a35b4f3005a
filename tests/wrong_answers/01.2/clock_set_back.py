"""The time of the start is taken for the number of the start."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_start(self, ctx):
        self.life, self.count = ctx.now(), 0

    def on_generate(self, message, sender, ctx):
        self.count += 1
        ctx.reply(message, GenerateOk([ctx.me, self.life, self.count]))
