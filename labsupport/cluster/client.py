"""A client of a cluster: asks nodes, waits for their answers in any thread, and records what it asked and was told."""

from __future__ import annotations

import itertools
import queue
from typing import TYPE_CHECKING, Any

from labsupport.cluster import refusal
from labsupport.cluster.ends import Mailbox, write
from labsupport.errors import LearnerError
from labsupport.messages import Message, body, plain

if TYPE_CHECKING:
    from labsupport.cluster.cluster import Cluster

TIMEOUT_S = 5.0  # what Maelstrom's clients wait


class Client:
    """Asks nodes, one request after the other or several at a time from different threads.

    ``call``, ``returned``, ``refused`` and ``gave_up`` record an operation for `Cluster.history`, as a client's context
    does in the simulation.

    >>> client.rpc("n1", {"type": "echo", "echo": "hello"})       # doctest: +SKIP
    {'type': 'echo_ok', 'echo': 'hello', 'in_reply_to': 1}
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self.late = 0  # answers that came after their time
        self._cluster, self._router = cluster, cluster._router
        self._end = Mailbox(name, self._heard)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[str, queue.SimpleQueue]] = {}
        self._router.ask(self._join)

    def rpc(self, dest: str, body: dict[str, Any] | Message, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Send a request and wait for its answer; the answer's JSON body.

        Args:
            dest: a node.
            body: the request's JSON body (a ``msg_id`` is added), or a message.
            timeout_s: how long to wait.

        Raises:
            RequestFailed: the node answered with an error.
            TimeoutError: no answer came in time; the request may have happened or not.
            NodeCrashed: the node has ended by itself, before or meanwhile.
        """
        number = next(self._numbers)
        answers: queue.SimpleQueue = queue.SimpleQueue()
        self._waiting[number] = (dest, answers)
        try:
            self._post(dest, body, number)
            answer = answers.get(timeout=timeout_s)
        except queue.Empty:
            self._router.check()
            what = body.wire_type if isinstance(body, Message) else body.get("type")
            raise TimeoutError(f"{dest} did not answer {what} within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if isinstance(answer, BaseException):
            self._router.check()
            raise answer
        if answer.get("type") == "error":
            raise refusal(answer)
        return answer

    def send(self, dest: str, body: dict[str, Any] | Message) -> None:
        """Send a message that asks for no answer."""
        self._post(dest, body, None)

    def _post(self, dest: str, sent: dict[str, Any] | Message, number: int | None) -> None:
        if dest not in self._router.hosts:
            self._cluster._node(dest)
        if dest in self._router.crashed:
            raise self._router.crashed[dest]
        if isinstance(sent, Message):
            sent = body(sent)
        elif not isinstance(sent, dict):
            raise LearnerError(f"{self.name} cannot send {sent!r}.", do='give a body such as {"type": "read"}')
        full = {**sent, "msg_id": number} if number is not None else sent
        try:
            line = write({"src": self.name, "dest": dest, "body": full})
        except (TypeError, ValueError) as error:
            raise LearnerError(f"{self.name} cannot send {sent!r}: {error}.", do="give what JSON can say") from error
        self._router.post(self._router.take, self._end, line)

    # ---------------------------------------------------------------- in the router's thread

    def _join(self) -> None:
        self._router.ends[self.name] = self._end
        self._router.on_crash.append(self._node_crashed)

    def _heard(self, message: dict) -> None:
        answer = message["body"]
        number = answer.get("in_reply_to")
        waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
        if waiting is None:
            self.late += 1
        else:
            waiting[1].put(answer)

    def _node_crashed(self, name: str, error: BaseException) -> None:
        for number, (dest, answers) in list(self._waiting.items()):
            if dest == name or not name:
                self._waiting.pop(number, None)
                answers.put(error)

    # ---------------------------------------------------------------- the history

    def call(self, kind: str, key: Any = None, value: Any = None) -> int:
        """Record that an operation begins, before its request leaves; its number, for `returned` and the others."""
        number = next(self._cluster._operations)
        self._record("call", (number, kind, plain(key), plain(value)))
        return number

    def returned(self, number: int, result: Any = None) -> None:
        """Record that an operation took effect, with what its client was told."""
        self._record("return", (number, plain(result), "ok"))

    def refused(self, number: int) -> None:
        """Record that an operation surely has no effect, now or later."""
        self._record("return", (number, None, "failed"))

    def gave_up(self, number: int) -> None:
        """Record that nobody knows whether an operation takes effect."""
        self._record("return", (number, None, "unknown"))

    def _record(self, kind: str, detail: tuple) -> None:
        self._router.records.append((self._router.clock_us(), kind, self.name, detail))

    def __repr__(self) -> str:
        return f"<client {self.name}>"
