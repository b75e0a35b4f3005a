"""Answers a moment later, field by field."""

from labsupport import Node, message


@message
class Echo:
    number: int
    payload: object
    trace_id: str = ""


@message
class EchoOk:
    number: int
    payload: object
    trace_id: str = ""


class Echoer(Node):
    async def on_echo(self, message, sender, ctx):
        await ctx.sleep(0.001)
        fields = {name: getattr(message, name) for name in ("number", "payload", "trace_id")}
        ctx.reply(message, EchoOk(**fields))
