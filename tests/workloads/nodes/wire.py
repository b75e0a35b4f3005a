"""A small runtime for the node programs of these tests: the Maelstrom protocol in one thread, standard library only."""

from __future__ import annotations

import json
import os
import select
import sys
import time

FLAW = sys.argv[1] if len(sys.argv) > 1 else ""  # which mistake the program is to make


class Wire:
    """Handlers by message type, called as ``handler(body, sender)``; what one returns is the reply."""

    def __init__(self, **handlers):
        self.me, self.peers = "", []
        self.handlers = handlers
        self._waiting, self._next, self._periods = {}, 0, []

    def every(self, seconds, act):
        """Call a function again and again."""
        self._periods.append([time.monotonic() + seconds, seconds, act])

    def send(self, dest, body):
        os.write(1, json.dumps({"src": self.me, "dest": dest, "body": body}).encode() + b"\n")

    def ask(self, dest, body, then):
        """Send a request; its answer's body goes to a function."""
        self._next += 1
        self._waiting[self._next] = then
        self.send(dest, {**body, "msg_id": self._next})

    def run(self):
        unread = b""
        while True:
            wait = min((due - time.monotonic() for due, _, _ in self._periods), default=None)
            if select.select([0], [], [], None if wait is None else max(wait, 0))[0]:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
            for period in self._periods:
                if period[0] <= time.monotonic():
                    period[0] = time.monotonic() + period[1]
                    if self.me:
                        period[2]()

    def _take(self, message):
        body, sender = message["body"], message["src"]
        if body.get("in_reply_to") in self._waiting:
            self._waiting.pop(body["in_reply_to"])(body)
            return
        if body["type"] == "init":
            self.me, names = body["node_id"], body["node_ids"]
            self.peers = [name for name in names if name != self.me]
            answer = {"type": "init_ok"}
        else:
            answer = self.handlers[body["type"]](body, sender)
        if answer is not None:
            self.answer(sender, body, answer)

    def answer(self, sender, body, answer):
        """Reply later."""
        self.send(sender, {**answer, "in_reply_to": body["msg_id"]})
