"""A leader answers reads from its own state, without asking whether it still leads."""

from right import Raft, ReadOk


class Wrong(Raft):
    def on_read(self, message, sender, ctx):
        if self.role != "leader":
            super().on_read(message, sender, ctx)
        else:
            ctx.reply(message, ReadOk(self.value, self.version))
