"""Cuts its log at each message, so that an old one that comes late undoes newer ones."""

from right import Raft


class Wrong(Raft):
    def take(self, message):
        self.log[message.prev_index :] = message.entries
        return True
