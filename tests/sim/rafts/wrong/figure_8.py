"""Commits entries of older terms by counting their copies (Figure 8 of the paper)."""

from right import Raft


class Wrong(Raft):
    def begin_term(self, ctx):
        pass  # the empty entry at the begin of a term would hide the mistake

    def may_commit(self, index):
        return True
