"""Answers if there is something to echo."""

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
        if message.payload:
            ctx.reply(message, EchoOk(message.number, message.payload, message.trace_id))
