"""One timer for each peer, set anew by its heartbeats; the patience doubles after each mistake."""

from labsupport import Node, message


@message
class Heartbeat:
    count: int
    clock_s: float


class Detector(Node):
    def on_start(self, ctx):
        self.suspects, self.patience = set(), dict.fromkeys(ctx.peers, 0.6)
        for peer in ctx.peers:
            ctx.set_timer(peer, self.patience[peer])
        ctx.spawn(self.beat(ctx))

    async def beat(self, ctx):
        count = 0
        while True:
            count += 1
            for peer in ctx.peers:
                ctx.send(peer, Heartbeat(count, ctx.now()))
            await ctx.sleep(0.1)

    def on_heartbeat(self, message, sender, ctx):
        if sender in self.suspects:
            self.suspects.discard(sender)
            self.patience[sender] *= 2
            ctx.note("restore", peer=sender)
        ctx.set_timer(sender, self.patience[sender])

    def on_timer(self, peer, ctx):
        self.suspects.add(peer)
        ctx.note("suspect", peer=peer)
