"""So many random bits that no two will ever be equal, and nothing to remember."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_generate(self, message, sender, ctx):
        ctx.reply(message, GenerateOk(f"{ctx.random.getrandbits(128):032x}"))
