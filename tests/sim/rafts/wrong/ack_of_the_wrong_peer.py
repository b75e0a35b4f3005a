"""Credits each answer to the peer that was asked last."""

from right import Raft


class Wrong(Raft):
    def lead_on(self, ctx):
        self.asked = ctx.peers[-1]
        super().lead_on(ctx)

    def heard_from(self, peer, reply, ctx):
        super().heard_from(self.asked if reply.success else peer, reply, ctx)
