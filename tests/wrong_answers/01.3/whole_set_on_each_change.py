"""Whatever is new, the neighbours are sent everything."""

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
        self.values = ctx.load("values", [])
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
                    ctx.send(peer, Gossip(self.values))

    def on_timer(self, name, ctx):
        for peer, values in self.owed.items():
            if values:
                ctx.send(peer, Gossip(sorted(values)))
        ctx.set_timer("resend", 0.3)
