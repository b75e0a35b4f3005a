"""Forgets in a crash which term it is."""

from right import Raft


class Wrong(Raft):
    def save_term(self, ctx):
        pass

    def save_vote(self, ctx):
        pass
