"""What a check of a RabbitMQ worker stands on: a hand on the broker, and a worker process that is killed at will."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from labsupport.exercises.answer import Answer, Child, ChildEnded
from labsupport.exercises.checking import Run
from labsupport.exercises.workqueues.wiretap import Event, Stop, Wiretap
from labsupport.services import RabbitMQ

WAIT_S = 25.0  # for what takes milliseconds on an idle machine
PATIENCE_S = 20.0  # before a check says of something that it will never happen
ACK = "Basic.Ack"
REFUSALS = (
    pika.exceptions.AMQPChannelError,
    pika.exceptions.ProbableAccessDeniedError,  # too many connections
    pika.exceptions.UnroutableError,
    pika.exceptions.NackError,
)
SETTLING = (ACK, "Basic.Nack", "Basic.Reject")


class Broker:
    """The check's own connection to RabbitMQ, beside the tap; opened again after a restart.

    Args:
        run: the check.
        server: the broker.
        url: of the namespace in it that the check works in.
    """

    def __init__(self, run: Run, server: RabbitMQ, url: str) -> None:
        self._run, self._server, self._url = run, server, url
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None

    @classmethod
    @contextlib.contextmanager
    def of(cls, run: Run) -> Iterator[Broker]:
        """A broker that the check has to itself, in which it finds nothing and leaves nothing."""
        with run.lend(RabbitMQ) as rabbit, rabbit.namespace() as url:
            yield cls(run, rabbit, url)

    def behind(self, tap: Wiretap, who: str = "worker") -> str:
        """The address for a learner's code, through the tap."""
        return tap.amqp(self._url, who)

    @contextlib.contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """The channel, or a new one where a refusal of the broker has closed it.

        What is refused here worked before the answer began: it has used up a limit, or taken a queue away.
        """
        try:
            if self._connection is None:
                parameters = pika.URLParameters(self._url)
                parameters.heartbeat = 0  # a check waits for minutes without serving its connection
                self._connection = pika.BlockingConnection(parameters)
            if self._channel is None or self._channel.is_closed:
                self._channel = self._connection.channel()
                self._channel.confirm_delivery()
            yield self._channel
        except REFUSALS as refusal:
            self._run.reject(
                "",
                f"the broker refuses what it did before your code ran: {refusal}",
                expected="queues as they were given",
                got=refusal,
            )

    def declare(self, queue: str, **arguments: Any) -> None:
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments=arguments)

    def publish(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        """Persistent messages, each confirmed by the broker."""
        with self.channel() as channel:
            for body in bodies:
                sent = pika.BasicProperties(delivery_mode=2, **properties)
                channel.basic_publish("", queue, body, sent, mandatory=True)

    def ready(self, *queues: str) -> int:
        """How many messages wait in these queues together; a queue that does not exist holds none."""
        return sum(self._look(queue)[0] for queue in queues)

    def unacked(self, queue: str) -> int:
        """How many messages of a queue are with workers."""
        return self._server.queue_depth(queue, vhost=unquote(urlsplit(self._url).path[1:])).unacked

    def consumers(self, queue: str) -> int:
        return self._look(queue)[1]

    def take(self, queue: str) -> tuple[pika.BasicProperties, bytes] | None:
        with self.channel() as channel:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            return (properties, body) if method else None

    def delete(self, queue: str) -> None:
        with self.channel() as channel:
            channel.queue_delete(queue)

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """While the block runs, the broker is shut down; then it starts again."""
        self._connection = self._channel = None
        with self._server.down():
            yield

    def _look(self, queue: str) -> tuple[int, int]:
        with self.channel() as channel:
            try:
                found = channel.queue_declare(queue, passive=True).method
            except pika.exceptions.ChannelClosedByBroker:
                return 0, 0
            return found.message_count, found.consumer_count


class WorkerBench:
    """A broker, a tap, and a learner's worker that is started, killed and started again.

    A subclass says in `start` how the worker is started, and runs its experiments with what is here.
    """

    def __init__(self, answer: Answer, run: Run, broker: Broker, tap: Wiretap) -> None:
        self.answer, self.run, self.broker, self.tap = answer, run, broker, tap

    # ---------------------------------------------------------------- waiting

    def until(self, child: Child, condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        """Wait until `condition` says something true while `child` lives, and return that.

        Raises:
            ChildEnded: the process ended first.
            TimeoutError: neither happened.
        """

        def look() -> Any:
            if self.tap.is_full:
                self.run.reject(
                    "", f"your worker's connections carried {self.tap.heard // 1_000_000} MB, without an end"
                )
            over = not child.running  # asked first: the condition may come true with its last act
            if not (value := condition()) and over:
                child.wait(10)
                raise ChildEnded(child, what)
            return value

        return self.run.wait_until(look, what, timeout_s)

    def reach(self, child: Child, stop: Stop, what: str) -> Event:
        """Wait until the tap holds the message that `stop` wants, and return it."""
        self.until(child, lambda: stop.reached, what)
        return stop.event

    # ---------------------------------------------------------------- killing

    def kill(self, child: Child, stop: Stop | None = None, *, queue: str, why: str) -> None:
        """SIGKILL to the worker; what the tap holds at `stop` never gets to the server, all before it does."""
        self.tap.note(f"check: SIGKILL to the worker; {why}")
        child.kill()
        if stop:
            stop.cut()
        self.gone(queue)

    def gone(self, queue: str) -> None:
        """Wait until the broker has noticed the end of a worker, and has put back what that one did not acknowledge."""
        self.tap.settle()
        self.run.wait_until(lambda: not self.broker.consumers(queue), "the broker to notice that the worker is gone")

    # ---------------------------------------------------------------- looking back

    def settled(self, *bodies: bytes, how: Iterable[str] = SETTLING, since: int = 0, who: str = "") -> int:
        """How many deliveries of these messages a worker has acknowledged or rejected, since an event's number."""
        events = [event for event in self.tap.events[since:] if event.sent and event.name in how]
        return sum(body in bodies for event in events if who in ("", event.who) for body in event.bodies)

    def all_settled(self, bodies: Iterable[bytes], since: int = 0) -> bool:
        """Whether each of these messages has been acknowledged, or rejected for good: not put back into the queue."""
        events = [event for event in self.tap.events[since:] if event.sent and event.name in SETTLING]
        let_go = {body for event in events if not getattr(event.content, "requeue", False) for body in event.bodies}
        return let_go.issuperset(bodies)

    def delivered(self, body: bytes) -> int:
        """How many times the broker has sent this message to a worker."""
        names = ("Basic.Deliver", "Basic.GetOk")
        return sum(body in event.bodies for event in self.tap.events if not event.sent and event.name in names)
