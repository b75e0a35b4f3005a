"""A right Raft in the style that lesson 10 teaches: async, each rule of the paper in a method of its own.

The wrong Rafts beside it replace one such method each. One register is replicated; reads go through the log, too.
"""

from __future__ import annotations

from labsupport.messages import Error, message
from labsupport.node import Node


@message
class RequestVote:
    term: int
    last_index: int
    last_term: int


@message
class Vote:
    term: int
    granted: bool


@message
class AppendEntries:
    term: int
    prev_index: int
    prev_term: int
    entries: list
    commit: int


@message
class Appended:
    term: int
    success: bool
    match: int


@message
class Write:
    value: int


@message
class WriteOk:
    index: int


@message
class Read:
    pass


@message
class ReadOk:
    value: int
    version: int


class Raft(Node):
    ELECTION_S, HEARTBEAT_S, RPC_S = (0.15, 0.3), 0.05, 0.5

    def on_start(self, ctx):
        self.term = ctx.load("term", 0)
        self.voted_for = ctx.load("voted_for")
        self.log = ctx.load("log", [])
        self.role, self.votes = "follower", []
        self.commit = self.applied = 0
        self.value = self.version = 0
        self.waiting = {}
        self.await_election(ctx)

    def await_election(self, ctx):
        ctx.set_timer("election", ctx.random.uniform(*self.ELECTION_S))

    # --- elections

    def on_timer(self, name, ctx):
        if name == "election" and self.role != "leader":
            self.campaign(ctx)
        elif name == "heartbeat" and self.role == "leader":
            self.lead_on(ctx)

    def campaign(self, ctx):
        self.role, self.term, self.voted_for, self.votes = "candidate", self.term + 1, ctx.me, [ctx.me]
        self.save_term(ctx)
        self.await_election(ctx)
        for peer in ctx.peers:
            ctx.spawn(self.ask_for_vote(peer, ctx))

    async def ask_for_vote(self, peer, ctx):
        term = self.term
        try:
            reply = await ctx.rpc(peer, RequestVote(term, len(self.log), self.last_term()), self.RPC_S)
        except TimeoutError:
            return
        if reply.term > self.term:
            self.step_down(reply.term, ctx)
        elif reply.granted and self.vote_counts(term, reply, peer):
            self.votes.append(peer)
            if len(self.votes) * 2 > len(ctx.peers) + 1 and self.role == "candidate":
                self.lead(ctx)

    def vote_counts(self, term, reply, peer):
        return self.role == "candidate" and term == self.term and peer not in self.votes

    def on_request_vote(self, message, sender, ctx):
        if message.term > self.term:
            self.step_down(message.term, ctx)
        granted = message.term == self.term and self.may_vote(message, sender) and self.up_to_date(message)
        if granted:
            self.voted_for = sender
            self.save_vote(ctx)
            self.await_election(ctx)
        ctx.reply(message, Vote(self.term, granted))

    def may_vote(self, message, sender):
        return self.voted_for in (None, sender)

    def up_to_date(self, message):
        return (message.last_term, message.last_index) >= (self.last_term(), len(self.log))

    def last_term(self):
        return self.log[-1]["term"] if self.log else 0

    def step_down(self, term, ctx):
        self.role, self.term, self.voted_for = "follower", term, self.vote_after(term)
        self.save_term(ctx)
        ctx.cancel_timer("heartbeat")
        self.await_election(ctx)

    def vote_after(self, term):
        return None

    def save_term(self, ctx):
        ctx.save(term=self.term, voted_for=self.voted_for)

    def save_vote(self, ctx):
        ctx.save(voted_for=self.voted_for)

    # --- the leader

    def lead(self, ctx):
        self.role = "leader"
        ctx.note("leader", term=self.term)
        ctx.cancel_timer("election")
        self.next = {peer: len(self.log) + 1 for peer in ctx.peers}
        self.match = {peer: 0 for peer in ctx.peers}
        self.begin_term(ctx)
        self.lead_on(ctx)

    def begin_term(self, ctx):
        self.append(None, ctx)

    def append(self, command, ctx):
        self.log.append({"term": self.term, "command": command})
        ctx.save(log=self.log)

    def lead_on(self, ctx):
        ctx.set_timer("heartbeat", self.HEARTBEAT_S)
        for peer in ctx.peers:
            ctx.spawn(self.replicate(peer, ctx))

    async def replicate(self, peer, ctx):
        term, prev = self.term, self.next[peer] - 1
        entries = self.log[prev:]
        prev_term = self.log[prev - 1]["term"] if prev else 0
        try:
            reply = await ctx.rpc(peer, AppendEntries(term, prev, prev_term, entries, self.commit), self.RPC_S)
        except TimeoutError:
            return
        if reply.term > self.term:
            self.step_down(reply.term, ctx)
        elif self.role == "leader" and self.term == term:
            self.heard_from(peer, reply, ctx)

    def heard_from(self, peer, reply, ctx):
        if reply.success:
            self.match[peer] = max(self.match[peer], reply.match)
            self.next[peer] = self.match[peer] + 1
            self.advance_commit(ctx)
        else:
            self.next[peer] = max(1, min(self.next[peer] - 1, reply.match + 1))

    def advance_commit(self, ctx):
        have = sorted([len(self.log), *self.match.values()], reverse=True)
        index = have[len(have) // 2]
        if index > self.commit and self.may_commit(index):
            self.commit = index
            self.apply(ctx)

    def may_commit(self, index):
        return self.log[index - 1]["term"] == self.term

    # --- the follower

    def on_append_entries(self, message, sender, ctx):
        if message.term < self.term:
            ctx.reply(message, Appended(self.term, False, 0))
            return
        if message.term > self.term or self.role != "follower":
            self.step_down(message.term, ctx)
        self.await_election(ctx)
        if not self.fits(message):
            ctx.reply(message, Appended(self.term, False, min(len(self.log), message.prev_index - 1)))
            return
        match = message.prev_index + len(message.entries)
        if self.take(message):
            ctx.save(log=self.log)
        self.commit = max(self.commit, min(message.commit, match))
        self.apply(ctx)
        ctx.reply(message, Appended(self.term, True, match))

    def fits(self, message):
        prev = message.prev_index
        return prev == 0 or (prev <= len(self.log) and self.log[prev - 1]["term"] == message.prev_term)

    def take(self, message):
        """Put the new entries into the log; whether it has changed."""
        for number, entry in enumerate(message.entries, message.prev_index):
            if number >= len(self.log) or self.log[number]["term"] != entry["term"]:
                self.log[number:] = message.entries[number - message.prev_index :]
                return True
        return False

    # --- the state machine and its clients

    def apply(self, ctx):
        while self.applied < self.commit:
            entry = self.log[self.applied]
            self.applied += 1
            if isinstance(entry["command"], int):
                self.value, self.version = entry["command"], self.applied
            ctx.note("applied", index=self.applied, term=entry["term"], command=entry["command"])
            request = self.waiting.pop(self.applied, None)
            if request is not None and self.role == "leader":
                done = type(request) is Read
                ctx.reply(request, ReadOk(self.value, self.version) if done else WriteOk(self.applied))

    def on_write(self, message, sender, ctx):
        self.propose(message, message.value, ctx)

    def on_read(self, message, sender, ctx):
        self.propose(message, "read", ctx)

    def propose(self, message, command, ctx):
        if self.role != "leader":
            ctx.reply(message, Error(11, "not the leader"))
            return
        self.append(command, ctx)
        self.waiting[len(self.log)] = message


class Client(Node):
    """Writes and reads the register in turn, wherever it finds the leader."""

    async def on_start(self, ctx):
        self.leader, count = ctx.peers[0], 0
        while True:
            count += 1
            await ctx.sleep(ctx.random.uniform(0.02, 0.15))
            if ctx.random.random() < 0.5:
                await self.operate("write", count * 10 + int(ctx.me[1:]), ctx)
            else:
                await self.operate("read", None, ctx)

    async def operate(self, kind, value, ctx):
        number = ctx.call(kind, "x", value)
        try:
            reply = await ctx.rpc(self.leader, Read() if kind == "read" else Write(value), 0.15)
        except TimeoutError:
            self.leader = ctx.random.choice(ctx.peers)
            ctx.gave_up(number)
        except Exception:
            self.leader = ctx.random.choice(ctx.peers)
            ctx.refused(number)
        else:
            ctx.note("fresh", number=number, version=reply.version if kind == "read" else reply.index, kind=kind)
            ctx.returned(number, reply.value if kind == "read" else None)
