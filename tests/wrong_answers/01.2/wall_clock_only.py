"""The time is taken for something that comes only once."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_generate(self, message, sender, ctx):
        ctx.reply(message, GenerateOk(ctx.now()))
