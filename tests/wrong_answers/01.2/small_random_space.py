"""Six random digits, which look like plenty."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_generate(self, message, sender, ctx):
        ctx.reply(message, GenerateOk(ctx.random.randrange(10**6)))
