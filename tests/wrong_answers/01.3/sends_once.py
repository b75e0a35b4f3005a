"""Every neighbour is told once, and whether it has heard nobody asks."""

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


class Broadcaster(Node):
    def on_start(self, ctx):
        self.values = ctx.load("values", [])
        self.neighbours = ctx.load("neighbours", [])

    def on_topology(self, message, sender, ctx):
        self.neighbours = message.topology[ctx.me]
        ctx.save(neighbours=self.neighbours)
        ctx.reply(message, TopologyOk())

    def on_broadcast(self, message, sender, ctx):
        self.learn(message.message, sender, ctx)
        ctx.reply(message, BroadcastOk())

    def on_read(self, message, sender, ctx):
        ctx.reply(message, ReadOk(self.values))

    def on_gossip(self, message, sender, ctx):
        for value in message.values:
            self.learn(value, sender, ctx)

    def learn(self, value, sender, ctx):
        if value in self.values:
            return
        self.values.append(value)
        ctx.save(values=self.values)
        for peer in self.neighbours:
            if peer != sender:
                ctx.send(peer, Gossip([value]))
