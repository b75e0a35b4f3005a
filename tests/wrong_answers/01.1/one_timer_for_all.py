"""One timer that every heartbeat sets anew, whoever sent it."""

from labsupport import Node, message


@message
class Heartbeat:
    count: int
    clock_s: float


class Detector(Node):
    def on_start(self, ctx):
        self.suspects = set()
        self.count = 0
        ctx.set_timer("silence", 0.5)
        self.on_timer("beat", ctx)

    def on_heartbeat(self, message, sender, ctx):
        ctx.set_timer("silence", 0.5)
        if sender in self.suspects:
            self.suspects.remove(sender)
            ctx.note("restore", peer=sender)

    def on_timer(self, name, ctx):
        if name == "beat":
            self.count += 1
            for peer in ctx.peers:
                ctx.send(peer, Heartbeat(self.count, ctx.now()))
            ctx.set_timer("beat", 0.1)
        else:
            for peer in ctx.peers:
                if peer not in self.suspects:
                    self.suspects.add(peer)
                    ctx.note("suspect", peer=peer)
