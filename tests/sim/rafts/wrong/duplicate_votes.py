"""Counts the same vote each time that it arrives."""

from right import Raft


class Wrong(Raft):
    async def ask_for_vote(self, peer, ctx):
        term = self.term
        try:
            await super().ask_for_vote(peer, ctx)
        finally:
            if self.role == "candidate" and term == self.term:
                ctx.spawn(self.ask_for_vote(peer, ctx))  # asks until all have answered

    def vote_counts(self, term, reply, peer):
        return self.role == "candidate" and term == self.term
