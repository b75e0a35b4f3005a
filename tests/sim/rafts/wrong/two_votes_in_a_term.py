"""Grants every request of its term, so that two candidates can win it."""

from right import Raft


class Wrong(Raft):
    def may_vote(self, message, sender):
        return True
