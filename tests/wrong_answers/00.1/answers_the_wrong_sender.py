"""Remembers whoever asked first."""

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
    def on_start(self, ctx):
        self.asker = None

    def on_echo(self, message, sender, ctx):
        self.asker = self.asker or sender
        ctx.send(self.asker, EchoOk(message.number, message.payload, message.trace_id))
