"""What all workloads share: the setting, the steps of clients, and one step's way from request to ending."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Generator, Iterator, Mapping
from typing import Any, ClassVar

from labsupport.checkers.finding import Finding
from labsupport.history import Ending, History
from labsupport.messages import RequestFailed
from labsupport.workloads.replies import Fields, MalformedReply, check_reply

MALFORMED = "malformed reply"
CRASH = "crash"  # the step after which a client is replaced by one that knows nothing

# A talk yields request bodies, is sent reply bodies, and returns what the client learned.
Talk = Generator[dict[str, Any], dict[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a workload has to know of the run it is for.

    Args:
        nodes: the names of all nodes.
        concurrency: how many clients there are at a time.
        seed: what the steps are drawn from.
        topology: which neighbours broadcast's nodes are told; see `topologies`.
        key_count: on how many keys transactions and logs are working at a time.
        max_txn_length: operations of one transaction at most.
        max_writes_per_key: after so many writes a new key takes the place of a key.
        consistency_models: what transactions are held to; see `labsupport.checkers.transactions.FORBIDDEN`.
        latency_ms: the mean delay of messages, from which lin-kv's patience follows.
    """

    nodes: tuple[str, ...] = ("n1", "n2", "n3", "n4", "n5")
    concurrency: int = 5
    seed: int = 0
    topology: str = "grid"
    key_count: int = 10
    max_txn_length: int = 4
    max_writes_per_key: int = 16
    consistency_models: tuple[str, ...] = ("strict-serializable",)
    latency_ms: float = 0.0


@dataclasses.dataclass(frozen=True)
class Step:
    """What one client does next, in the words of an `Operation`."""

    kind: str
    key: Any = None
    value: Any = None


class Seat:
    """One place for a client: the same number and node for ever, a new client after each unknown ending.

    Args:
        number: from 0.
        node: whom its clients ask.
        client: the present client's name.
    """

    def __init__(self, number: int, node: str, client: str = "") -> None:
        self.number, self.node = number, node
        self.clients = 0
        self.sit(client or f"c{number}")

    def sit(self, client: str) -> None:
        """A new client takes the place."""
        self.client, self.clients = client, self.clients + 1
        self.memory: dict[str, Any] = {}  # what the workload remembers for this client


class Workload:
    """The base of all workloads; a subclass says what its clients ask, and what must hold.

    Args:
        setting: of the run.
    """

    name = ""
    idempotent: frozenset[str] = frozenset({"read"})  # kinds that may be repeated, so that no answer means failed
    maps_errors = True  # whether a definite error means failed; else every error leaves the ending unknown
    ends_with_reads = False  # whether there are final steps, after all faults have healed
    final_pause_s = 0.0  # between final steps of one client
    final_limit_s = 0.0  # how long final steps go on at most; 0: until there are no more
    replies: ClassVar[Mapping[str, Fields]] = {}  # the fields of the answer to each type of request

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.random = random.Random(f"{setting.seed} {self.name}")
        self.remarks: dict[str, None] = {}  # sentences about answers that are strange and yet accepted

    @property
    def timeout_s(self) -> float:
        """How long a client waits for an answer."""
        return 5.0

    def greeting(self, node: str) -> Step | None:
        """What a node is told after each start, if anything; not an operation."""
        return None

    def step(self, seat: Seat) -> Step:
        """What the client in this seat does next."""
        raise NotImplementedError

    def talk(self, step: Step, seat: Seat) -> Talk:
        """The requests of one step, in turn with the answers; returns the result."""
        raise NotImplementedError

    def heard(self, step: Step, attempt: Attempt) -> None:
        """A step has ended; what is drawn next may depend on it."""

    def final_steps(self, seat: Seat) -> Iterator[Step]:
        """What the client in this seat does at the end."""
        return iter(())

    def check(self, history: History, final_from: float | None = None) -> Finding:
        """The verdict.

        Args:
            history: what happened.
            final_from: when the final steps began, on the history's clock; None if there were none.
        """
        raise NotImplementedError


class Attempt:
    """One step on its way, whoever carries the requests.

    Send `request`, then tell by `answered` or `failed` what became of it, until it is None; then `ending`, `result`,
    `error` and `why` hold. A definite error means failed; no answer, a malformed one, or an indefinite error leaves the
    ending unknown, or failed where the step may be repeated without harm.

    >>> from labsupport.workloads import workload
    >>> seat = Seat(0, "n1")
    >>> attempt = Attempt(workload("echo", Setting()), Step("echo", value="hello"), seat)
    >>> attempt.request
    {'type': 'echo', 'echo': 'hello'}
    >>> attempt.answered({"type": "echo_ok", "echo": "hello", "in_reply_to": 1})
    >>> attempt.request, attempt.ending.value, attempt.result
    (None, 'ok', 'hello')
    """

    def __init__(self, workload: Workload, step: Step, seat: Seat) -> None:
        self.workload, self.step, self.node = workload, step, seat.node
        self.request: dict[str, Any] | None = None
        self.ending, self.result = Ending.UNKNOWN, None
        self.error = self.why = ""  # the kind of error, and what was said about this one
        if step.kind != CRASH:
            self._talk = workload.talk(step, seat)
            self._go_on(None)

    def answered(self, reply: dict[str, Any]) -> None:
        """The answer to `request` is in."""
        try:
            check_reply(self.request, reply, self.workload.replies, self.node)
            self._go_on(reply)
        except MalformedReply as odd:
            self._end(definite=False, error=MALFORMED, why=str(odd))

    def failed(self, error: TimeoutError | RequestFailed) -> None:
        """`request` was refused, or nobody has answered it in time."""
        if isinstance(error, RequestFailed):
            definite = error.definite and self.workload.maps_errors
            self._end(definite, f"{error.name} (code {error.code})", error.text)
        else:
            self._end(definite=False, error="no answer in time", why=str(error))

    def _go_on(self, reply: dict[str, Any] | None) -> None:
        try:
            self.request = self._talk.send(reply)
        except StopIteration as done:
            self.request, self.ending, self.result = None, Ending.OK, done.value

    def _end(self, definite: bool, error: str, why: str) -> None:
        self._talk.close()
        harmless = self.workload.maps_errors and self.step.kind in self.workload.idempotent
        self.ending = Ending.FAILED if definite or harmless else Ending.UNKNOWN
        self.request, self.error, self.why = None, error, why


def final_reads_only(history: History, final_from: float | None) -> History:
    """The history without the reads before the final ones."""
    if final_from is None:
        return history
    return History(op for op in history if op.kind != "read" or op.called >= final_from)
