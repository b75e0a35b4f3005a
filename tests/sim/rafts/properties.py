"""What every Raft has to keep, written against what the nodes note and what the clients are told."""

from __future__ import annotations

from labsupport.sim.properties import Property


class OneLeaderPerTerm(Property):
    hears = ("leader",)

    def __init__(self):
        self.leaders = {}

    def heard(self, world, node, what, facts):
        other = self.leaders.setdefault(facts["term"], node)
        return f"{other} and {node} both lead in term {facts['term']}" if other != node else ""


class EqualEntries(Property):
    """No two nodes ever apply different commands at one place of the log."""

    hears = ("applied",)

    def __init__(self):
        self.applied = {}

    def heard(self, world, node, what, facts):
        mine = (facts["term"], facts["command"])
        other, first = self.applied.setdefault(facts["index"], (mine, node))
        return f"at index {facts['index']} {first} applied {other} and {node} {mine}" if other != mine else ""


class FreshReads(Property):
    """A read never shows a state older than a write or read that was over before it began."""

    hears = ("call", "fresh")

    def __init__(self):
        self.newest, self.floor = 0, {}

    def heard(self, world, node, what, facts):
        if what == "call":
            self.floor[facts["number"]] = self.newest
        elif what == "fresh":
            floor = self.floor[facts["number"]]
            if facts["version"] < floor:
                return f"{node} saw version {facts['version']} after version {floor} had been seen"
            self.newest = max(self.newest, facts["version"])
        return ""


class CommitsInTheEnd(Property):
    """Liveness: once all is calm, something new is applied."""

    hears = ("applied",)

    def __init__(self):
        self.highest, self.when_calm = 0, None

    def heard(self, world, node, what, facts):
        self.highest = max(self.highest, facts["index"])
        return ""

    def calmed(self, world):
        self.when_calm = self.highest

    def at_end(self, world):
        if self.when_calm is not None and self.highest < self.when_calm + 1:
            return f"nothing was applied after index {self.highest}, although all was calm for seconds"
        return ""


SAFETY = (OneLeaderPerTerm, EqualEntries, FreshReads)
ALL = (*SAFETY, CommitsInTheEnd)
