"""Credits each answer to the peer that was the last to be sent entries (a closure over the variable of a loop)."""

from right import Raft


class Wrong(Raft):
    def lead_on(self, ctx):
        behind = [peer for peer in ctx.peers if self.next[peer] <= len(self.log)]
        self.asked = (behind or ctx.peers)[-1]
        super().lead_on(ctx)

    def heard_from(self, peer, reply, ctx):
        super().heard_from(self.asked if reply.success else peer, reply, ctx)
