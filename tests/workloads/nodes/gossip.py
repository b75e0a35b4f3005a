"""A learner's node for the broadcast workload: saves what it knows, and sends it again until it is acknowledged."""

from __future__ import annotations

from labsupport import Node, message


@message
class Topology:
    topology: dict


@message
class TopologyOk:
    pass


@message
class Broadcast:
    message: int


@message
class BroadcastOk:
    pass


@message
class Read:
    pass


@message
class ReadOk:
    messages: list


@message
class Gossip:
    messages: list


@message
class GossipOk:
    messages: list


class SavesAll(Node):
    again = True

    def on_start(self, ctx):
        self.known = set(ctx.load("known", []))
        self.missing = {peer: set(self.known) for peer in ctx.peers}
        ctx.set_timer("again", 0.2)

    def on_topology(self, message, sender, ctx):
        ctx.reply(message, TopologyOk())

    def on_broadcast(self, message, sender, ctx):
        self.learn([message.message], ctx)
        ctx.reply(message, BroadcastOk())

    def on_gossip(self, message, sender, ctx):
        self.learn(message.messages, ctx)
        ctx.send(sender, GossipOk(message.messages))

    def on_gossip_ok(self, message, sender, ctx):
        self.missing[sender] -= set(message.messages)

    def on_read(self, message, sender, ctx):
        ctx.reply(message, ReadOk(sorted(self.known)))

    def on_timer(self, name, ctx):
        for peer in ctx.peers:
            if self.missing[peer] and self.again:
                ctx.send(peer, Gossip(sorted(self.missing[peer])))
        ctx.set_timer("again", 0.2)

    def learn(self, messages, ctx):
        fresh = set(messages) - self.known
        if fresh:
            self.known |= fresh
            ctx.save(known=sorted(self.known))
            for peer in ctx.peers:
                self.missing[peer] |= fresh
                ctx.send(peer, Gossip(sorted(fresh)))


class SendsOnce(SavesAll):
    again = False
