"""Makes text of whatever comes."""

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
    def on_echo(self, message, sender, ctx):
        ctx.reply(message, EchoOk(message.number, f"{message.payload}", message.trace_id))
