"""Sends the answer once more, to be on the safe side."""

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
        answer = EchoOk(message.number, message.payload, message.trace_id)
        ctx.reply(message, answer)
        ctx.reply(message, answer)
