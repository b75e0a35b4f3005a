"""A neighbour that has not answered five times is left alone."""

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
    values: list


@message
class GossipOk:
    values: list


class Broadcaster(Node):
    def on_start(self, ctx):
        self.values, self.tries = ctx.load("values", []), {}
        self.owed = {peer: set(self.values) for peer in ctx.load("neighbours", [])}
        ctx.set_timer("resend", 0.3)

    def on_topology(self, message, sender, ctx):
        self.owed = {peer: set(self.values) for peer in message.topology[ctx.me]}
        ctx.save(neighbours=list(self.owed))
        ctx.reply(message, TopologyOk())

    def on_broadcast(self, message, sender, ctx):
        self.learn([message.message], sender, ctx)
        ctx.reply(message, BroadcastOk())

    def on_read(self, message, sender, ctx):
        ctx.reply(message, ReadOk(self.values))

    def on_gossip(self, message, sender, ctx):
        self.learn(message.values, sender, ctx)
        ctx.send(sender, GossipOk(message.values))

    def on_gossip_ok(self, message, sender, ctx):
        self.owed[sender] -= set(message.values)

    def learn(self, values, sender, ctx):
        new = [value for value in values if value not in self.values]
        if new:
            self.values += new
            ctx.save(values=self.values)
            for peer in self.owed:
                if peer != sender:
                    self.owed[peer].update(new)
                    ctx.send(peer, Gossip(new))

    def on_timer(self, name, ctx):
        for peer, values in self.owed.items():
            for value in sorted(values):
                tries = self.tries[peer, value] = self.tries.get((peer, value), 0) + 1
                if tries <= 5:
                    ctx.send(peer, Gossip([value]))
        ctx.set_timer("resend", 0.3)
