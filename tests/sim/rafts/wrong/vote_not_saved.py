"""Forgets in a crash whom it has voted for."""

from right import Raft


class Wrong(Raft):
    def save_vote(self, ctx):
        pass
