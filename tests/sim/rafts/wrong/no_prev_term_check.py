"""Takes entries after a gap or after an entry of another term."""

from right import Raft


class Wrong(Raft):
    def fits(self, message):
        return message.prev_index <= len(self.log)
