"""A heartbeat with a smaller count than the last one is taken for a late one."""

from labsupport import Node, message


@message
class Heartbeat:
    count: int
    clock_s: float


class Detector(Node):
    def on_start(self, ctx):
        self.count = 0
        self.heard = {peer: ctx.now() for peer in ctx.peers}
        self.patience = {peer: 0.5 for peer in ctx.peers}
        self.suspects = set()
        self.counts = dict.fromkeys(ctx.peers, 0)
        self.on_timer("beat", ctx)

    def on_heartbeat(self, message, sender, ctx):
        if message.count <= self.counts[sender]:
            return
        self.counts[sender] = message.count
        silence = ctx.now() - self.heard[sender]
        self.heard[sender] = ctx.now()
        if sender in self.suspects:
            self.suspects.remove(sender)
            self.patience[sender] = max(self.patience[sender], 1.5 * silence)
            ctx.note("restore", peer=sender)

    def on_timer(self, name, ctx):
        self.count += 1
        for peer in ctx.peers:
            ctx.send(peer, Heartbeat(self.count, ctx.now()))
            if peer not in self.suspects and ctx.now() - self.heard[peer] > self.patience[peer]:
                self.suspects.add(peer)
                ctx.note("suspect", peer=peer)
        ctx.set_timer("beat", 0.1)
