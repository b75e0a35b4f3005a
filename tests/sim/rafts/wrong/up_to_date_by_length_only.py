"""Takes the longer log for the newer one."""

from right import Raft


class Wrong(Raft):
    def up_to_date(self, message):
        return message.last_index >= len(self.log)
