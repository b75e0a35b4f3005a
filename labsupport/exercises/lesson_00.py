"""Lesson 00, Start here: one exercise, a node that echoes, checked by two clients on a real NATS server.

The messages have the form of Maelstrom's bodies (type, msg_id, in_reply_to):
https://github.com/jepsen-io/maelstrom/blob/main/doc/protocol.md
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import nats

from labsupport.exercises.answer import Answer, Child, ChildEnded
from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.checking import Run
from labsupport.exercises.pubsub.stage import round_trip
from labsupport.services import Nats

SUBJECT = "echo"
ANSWER_S = 15  # an echo takes a millisecond; a machine that is busy with something else takes longer


async def echo_node(given: Any, tell: Callable[..., None], url: str) -> None:
    """In the child: hand every message on the subject to the learner's function."""

    async def handle(message: Any) -> None:
        try:
            await given.echo(nc, message)
        except BaseException as error:  # a NATS client only logs what a callback raises
            tell.failed(error)
            over.set()

    over = asyncio.Event()
    nc = await nats.connect(url)
    await nc.subscribe(SUBJECT, cb=handle)
    await round_trip(nc)
    tell("listening")
    await over.wait()


async def check_echo(answer: Answer, run: Run) -> str:
    """Two clients ask in turn; a third connection hears every message on the server."""
    with Nats() as server:
        observer = await nats.connect(server.url)
        try:
            with answer.start(echo_node, url=server.url) as child:
                await asyncio.to_thread(child.expect, "listening", 30, "the node to subscribe")
                return await Conversation(observer, child, run).hold()
        finally:
            await observer.close()


class Conversation:
    """What two clients ask and what the node answers, judged message by message as it passes on the wire."""

    def __init__(self, observer: Any, child: Child, run: Run) -> None:
        self.observer, self.child, self.run = observer, child, run
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.log: list[str] = []
        self.own: list[Any] = []
        self.clients = itertools.cycle(run.random.sample(["client.ann", "client.bob"], 2))
        self.last: tuple[str, Any] | None = None

    async def hold(self) -> str:
        await self.observer.subscribe("client.>", cb=self._hear)
        await self.observer.subscribe(SUBJECT, cb=self._hear)
        await round_trip(self.observer)
        payloads = _payloads(self.run)
        for payload in payloads:
            await self._ask(payload)
        # The node handles its messages one by one: once it has answered a last question, whatever it made of the
        # message before that is on the wire too, and nothing has to be waited for.
        stray = {"type": "echo_ok", "in_reply_to": 7, "echo": "an answer to somebody else"}
        await self._send("client.ann", stray)
        await self._ask("the last one", stray=stray)
        return f"{len(payloads)} messages of two clients, each answered once, to its sender, with its fields"

    async def _ask(self, payload: Any, stray: dict | None = None) -> None:
        client = next(self.clients)
        request = {"type": "echo", "msg_id": self.run.random.randrange(10**6), "echo": payload}
        await self._send(client, request)
        subject, reply = await self._next_of_node()
        if stray and isinstance(reply, dict) and reply.get("echo") == stray["echo"]:
            self.run.reject(
                "answers_answers",
                "the node answered a message that is itself an answer",
                expected='silence: only messages of type "echo" are requests',
                got=f"{json.dumps(reply)} on {subject}",
                evidence=[line for line in self.log if stray["echo"] in line],
            )
        self._judge(client, request, subject, reply)
        self.last = (subject, reply)

    def _judge(self, client: str, request: dict, subject: str, reply: Any) -> None:
        wanted = {"type": "echo_ok", "in_reply_to": request["msg_id"], "echo": request["echo"]}
        missing = [name for name in wanted if name not in (reply if isinstance(reply, dict) else {})]
        if (subject, reply) == self.last:
            name, what = "answers_twice", f"message {reply['in_reply_to']} was answered a second time"
        elif subject != client:
            name, what = "answers_the_wrong_sender", f"{client} asked, and the answer went to {subject}"
        elif missing:
            name, what = "drops_fields", f"the answer has no {' and no '.join(missing)}"
        elif reply["echo"] != wanted["echo"]:
            name, what = "changes_the_payload", "the answer's echo is not the value that was sent"
        elif reply != wanted:
            name, what = "", "the answer is not the request's echo"
        else:
            return
        self.run.reject(
            name,
            what,
            expected=f"{json.dumps(wanted, ensure_ascii=False)} on {client}, once",
            got=f"{json.dumps(reply, ensure_ascii=False)} on {subject}",
            evidence=self.log[-4:],
        )

    async def _send(self, client: str, body: dict) -> None:
        self.own.append(body)
        self.log.append(f"{client} -> {SUBJECT}: {json.dumps(body, ensure_ascii=False)}")
        await self.observer.publish(SUBJECT, json.dumps(body).encode(), reply=client)

    async def _hear(self, message: Any) -> None:
        await self.heard.put((message.subject, _decoded(message.data)))

    async def _next_of_node(self) -> tuple[str, Any]:
        """The next message on the wire that is not one of ours."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                subject, body = await asyncio.wait_for(self.heard.get(), 0.1)
            except asyncio.TimeoutError:
                if not self.child.running:
                    raise ChildEnded(self.child, "an answer") from None
                if time.monotonic() < deadline:
                    continue
                self.run.reject(
                    "",
                    f"no answer came in {ANSWER_S} s",
                    expected="one answer to each message",
                    got="silence",
                    evidence=self.log[-4:],
                )
            if subject == SUBJECT and body in self.own:
                self.own.remove(body)
                continue
            self.log.append(f"node -> {subject}: {json.dumps(body, ensure_ascii=False)}")
            return subject, body


def _payloads(run: Run) -> list[Any]:
    """Text, numbers, nested values and letters beyond ASCII, in an order drawn from the seed."""
    number = run.random.randrange(10**9)
    payloads = [f"hello {number}", number, {"n": number, "list": [1, None, True]}, "grüß dich, 世界", ""]
    run.random.shuffle(payloads)
    return payloads * (3 if run.full else 1)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return repr(data)


LESSON = Lesson(
    number="00",
    title="Start here",
    notebook="00_start_here",
    minutes=30,
    systems=("nats", "etcd"),
    exercises=(
        Exercise(
            id="00.1",
            title="echo",
            points=2,
            takes=("echo",),
            check=check_echo,
            misconceptions={
                "answers_the_wrong_sender": "Each message says where its answer belongs, and two clients have two "
                "such addresses. An answer sent to a fixed place, or to whoever asked first, reaches the wrong one.",
                "drops_fields": "A client may have many questions open. Without in_reply_to it cannot tell which of "
                "them this answers, and without type it cannot tell what it has received.",
                "answers_twice": "One question is one answer. A second copy looks to the client like an answer to a "
                "question that it never asked, and a client that counts answers counts one too many.",
                "changes_the_payload": "The payload is the sender's, not yours: it may be a number, a list or nothing "
                "at all, and turned into text it is no longer the same value.",
                "answers_answers": "A node hears everything that is sent to its subject, answers of others too. Two "
                "nodes that answer answers keep each other busy for ever.",
            },
            hints=(
                "Look at the ponger above: where does it take the address that it answers to from?",
                "What would the client need to match your answer with its question, if it had sent five of them?",
                "Decode the bytes; leave at once if the type is not a request; build a dictionary of three fields, two "
                "of them from the request; publish its JSON once, to the message's reply subject.",
            ),
        ),
    ),
)
