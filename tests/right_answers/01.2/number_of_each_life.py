"""One write for each start of the node, none for an id."""

from labsupport import Node, message


@message
class Generate:
    pass


@message
class GenerateOk:
    id: object


class Generator(Node):
    def on_start(self, ctx):
        self.life, self.count = ctx.load("life", 0) + 1, 0
        ctx.save(life=self.life)

    def on_generate(self, message, sender, ctx):
        self.count += 1
        ctx.reply(message, GenerateOk([ctx.me, self.life, self.count]))
