"""Votes for anybody, however short the log."""

from right import Raft


class Wrong(Raft):
    def up_to_date(self, message):
        return True
