"""The client is answered when every node has acknowledged the value."""

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
    pass


class Broadcaster(Node):
    def on_start(self, ctx):
        self.mine, self.others = ctx.load("mine", []), ctx.load("others", [])
        for value in self.mine:
            self.tell_all(value, ctx)

    def on_topology(self, message, sender, ctx):
        ctx.reply(message, TopologyOk())

    async def on_broadcast(self, message, sender, ctx):
        if message.message not in self.mine:
            self.mine.append(message.message)
            ctx.save(mine=self.mine)
        for peer in ctx.peers:
            await self.tell(peer, message.message, ctx)
        ctx.reply(message, BroadcastOk())

    def on_gossip(self, message, sender, ctx):
        new = [value for value in message.values if value not in self.others]
        if new:
            self.others += new
            ctx.save(others=self.others)
        ctx.reply(message, GossipOk())

    def on_read(self, message, sender, ctx):
        ctx.reply(message, ReadOk(self.mine + self.others))

    def tell_all(self, value, ctx):
        for peer in ctx.peers:
            ctx.spawn(self.tell(peer, value, ctx))

    async def tell(self, peer, value, ctx):
        wait_s = 0.2
        while True:
            try:
                await ctx.rpc(peer, Gossip([value]), timeout_s=wait_s)
                return
            except TimeoutError:
                wait_s = min(2 * wait_s, 1.6)
