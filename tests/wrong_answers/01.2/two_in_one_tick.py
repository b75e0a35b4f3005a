"""Node and time: but a node can be asked twice at one time."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_generate(self, message, sender, ctx):
        ctx.reply(message, GenerateOk(f"{ctx.me}-{ctx.now()}"))
