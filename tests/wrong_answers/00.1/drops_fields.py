"""Copies the fields that it understands."""

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
        ctx.reply(message, EchoOk(message.number, message.payload))
