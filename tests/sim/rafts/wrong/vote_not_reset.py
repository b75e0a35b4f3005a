"""Liveness: keeps its vote when a new term begins, so that terms pass without a leader."""

from right import Raft


class Wrong(Raft):
    def vote_after(self, term):
        return self.voted_for
