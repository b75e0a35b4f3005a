"""Counts a vote that was given in an earlier term."""

from right import Raft


class Wrong(Raft):
    def vote_counts(self, term, reply, peer):
        return self.role == "candidate" and peer not in self.votes
