"""The check of exercise 12.2: a failing job goes round through delays, and in the end to the dead-letter queue.

A tap (`wiretap`) between the worker and RabbitMQ holds one chosen message on its way, while a queue is deleted or the
worker is killed.
Message TTL, and that a queue lets only its head expire: https://www.rabbitmq.com/docs/ttl; a mandatory message that no
queue takes comes back: https://www.rabbitmq.com/docs/publishers#unroutable.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any, NoReturn

from labsupport.exercises.answer import Answer, Child, ChildEnded
from labsupport.exercises.checking import Run
from labsupport.exercises.workqueues.bench import PATIENCE_S, Broker, WorkerBench
from labsupport.exercises.workqueues.wiretap import Stop, Wiretap

LONG_MS = 600_000  # a delay that no check waits for


def run_retrying(
    given: Any, tell: Callable[..., None], rabbit_url: str, queue: str, delays_ms: list[int], failing: list[str]
) -> None:
    """In the child: the learner's worker, with a handler that fails for good on some jobs and reports each attempt."""

    def handle(body: bytes, properties: Any) -> None:
        job = body.decode()
        headers = sorted(properties.headers or {})
        tell("attempt", job=job, at=time.monotonic(), headers=headers, id=properties.message_id)
        if job in failing:
            raise RuntimeError(f"{job} fails")

    given.retrying_worker(rabbit_url, queue, delays_ms, handle)


def check_retrying(answer: Answer, run: Run) -> str:
    """Follow failing jobs through the queues, while workers, queues and the broker go away."""
    with Broker.of(run) as broker, Wiretap() as tap:
        return RetryTest(answer, run, broker, tap).go()


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One call of the handler: when (in seconds of the machine's clock), and what the message had with it."""

    at: float
    headers: list[str]
    id: str | None


class RetryTest(WorkerBench):
    """Jobs that always fail, each experiment with a queue and delays of its own."""

    def __init__(self, answer: Answer, run: Run, broker: Broker, tap: Wiretap) -> None:
        super().__init__(answer, run, broker, tap)
        self.url = broker.behind(tap)
        self.headers = {"trace": f"t-{run.random.randrange(16**6):06x}", "tenant": run.random.randrange(1, 100)}
        self.queue, self.child = "", None
        self.attempts: dict[str, list[Attempt]] = {}
        self.begun = 0

    def go(self) -> str:
        self.follows_the_schedule()
        self.lets_others_pass()
        self.publishes_to_a_queue_that_is_gone()
        self.counts_across_processes()
        return (
            "a failing job tried again after each delay, then laid in the dead-letter queue with its headers; others "
            "passed it meanwhile; a killed worker, a restarted broker and a vanished queue lost nothing"
        )

    # ---------------------------------------------------------------- the worker and its queues

    def fresh_queue(self, name: str) -> None:
        self.queue = f"{name}-{self.run.random.randrange(16**4):04x}"
        self.attempts.clear()
        self.begun = len(self.tap.events)
        for queue in (self.queue, f"{self.queue}.dead"):
            self.broker.declare(queue)

    def start(self, delays_ms: list[int], failing: list[str]) -> Child:
        args = {"rabbit_url": self.url, "queue": self.queue, "delays_ms": delays_ms, "failing": failing}
        self.child = self.answer.start(run_retrying, **args)
        return self.child

    def name(self) -> str:
        return f"mail-{self.run.random.randrange(16**4):04x}"

    def publish(self, *jobs: str) -> None:
        for job in jobs:
            self.broker.publish(self.queue, job.encode(), headers=self.headers, message_id=f"id-{job}")

    def tried(self, job: str) -> int:
        """How often the handler has been called for a job, in all processes of this experiment."""
        for event in self.child.events(timeout_s=0):
            attempts = self.attempts.setdefault(event["job"], [])
            attempts.append(Attempt(event["at"], event["headers"], event["id"]))
            self.tap.note(f"handler: attempt {len(attempts)} at {event['job']}")
        return len(self.attempts.get(job, ()))

    @property
    def own_queues(self) -> list[str]:
        """The queues that the worker has declared beside those that were there."""
        names = {
            event.content.queue
            for event in self.tap.events[self.begun :]
            if event.sent and event.name == "Queue.Declare" and not event.content.passive
        }
        names -= {self.queue, f"{self.queue}.dead", ""}
        if foreign := sorted(name for name in names if not name.startswith(f"{self.queue}.")):
            self.run.reject(
                "",
                f"the worker declared a queue {foreign[0]!r}; two workers on two queues would share it",
                expected=f"names that begin with {self.queue}.",
                got=foreign[0],
                evidence=[f"worker -> broker: declare {name}" for name in foreign],
            )
        return sorted(names)

    def copies(self) -> int:
        """How many messages of this experiment lie in some queue."""
        return self.broker.ready(self.queue, f"{self.queue}.dead", *self.own_queues)

    def reject(self, name: str, what: str, job: str, *, expected: object, got: object) -> NoReturn:
        evidence = self.tap.history(job, since=self.begun, lines=18)
        evidence = [line for line in evidence if not line.startswith("handler:") or job in line]
        self.run.reject(name, what, expected=expected, got=got, evidence=evidence)

    # ---------------------------------------------------------------- the experiments

    def follows_the_schedule(self) -> None:
        """One job that always fails, one that does not, and two delays: three attempts, then the dead-letter queue."""
        delays = [self.run.random.randrange(200, 300), self.run.random.randrange(800, 900)]
        self.fresh_queue("mails")
        bad, good = self.name(), self.name()
        limit, dead = len(delays) + 1, f"{self.queue}.dead"
        self.publish(bad, good)
        with self.start(delays, [bad]) as child:

            def outcome() -> str:
                if self.tried(bad) > limit + 1:
                    return "endless"
                if self.broker.ready(dead):
                    return "dead"
                gone = self.settled(bad.encode(), since=self.begun) >= limit and not self.copies()
                return "gone" if gone and self.tried(bad) == limit else ""

            how = self.until(child, outcome, f"{bad}, which always fails, to get to {dead}")
            if how == "gone":  # unless its copy is on its way
                with contextlib.suppress(TimeoutError):
                    self.until(child, lambda: self.broker.ready(dead), "the dead-letter queue", 5)
            # The broker may tell of the last attempt's end before the pipe from the child has told of its beginning.
            with contextlib.suppress(TimeoutError):
                self.until(child, lambda: self.tried(bad) >= limit, f"attempt {limit} at {bad}", 5)
            self.until(child, lambda: self.tried(good) and self.settled(good.encode()), f"{good} to be acknowledged")
        self.judge_delays(bad, delays)
        if (count := len(self.attempts[bad])) > limit + 1:
            what = f"the handler was called {count} times, and {len(delays)} delays were given"
            self.reject(
                "retries_without_limit", what, bad, expected=f"{limit} attempts, then {dead}", got="one more each time"
            )
        if count != limit:
            what = f"{len(delays)} delays make {limit} attempts, and there were {count}"
            self.reject("off_by_one", what, bad, expected=f"{limit} attempts", got=count)
        self.judge_dead_letter(bad, dead)
        if (count := len(self.attempts[good])) != 1:
            self.reject("", f"{good} does not fail and was handled {count} times", good, expected="once", got=count)

    def judge_delays(self, job: str, delays_ms: list[int]) -> None:
        """Only the lower side: a busy machine may always be late. The broker never lets a message expire early."""
        times = [attempt.at for attempt in self.attempts[job]]
        for number, delay_ms in enumerate(delays_ms[: len(times) - 1], 1):
            waited_ms = (times[number] - times[number - 1]) * 1000
            if waited_ms < delay_ms - 20:
                name = "same_delay_every_time" if number > 1 else "requeues_at_once"
                what = f"attempt {number + 1} came {waited_ms:.0f} ms after the one before"
                self.reject(name, what, job, expected=f"{delay_ms} ms or more", got=f"{waited_ms:.0f} ms")

    def judge_dead_letter(self, job: str, dead: str) -> None:
        found = self.broker.take(dead)
        if not found:
            self.reject(
                "throws_away",
                f"after its last attempt {job} is in no queue",
                job,
                expected=f"{job} in {dead}",
                got="nothing",
            )
        properties, body = found
        kept = {name: (properties.headers or {}).get(name) for name in self.headers}
        lost = [
            f"attempt {n}" for n, each in enumerate(self.attempts[job], 1) if not set(self.headers) <= set(each.headers)
        ]
        lost += [] if kept == self.headers else ["the dead letter"]
        lost += [] if properties.message_id == f"id-{job}" else ["the dead letter's message_id"]
        if lost:
            what = f"{job} was published with headers and a message_id, and they are missing: {', '.join(lost)}"
            self.reject(
                "drops_headers", what, job, expected=f"{self.headers}, id-{job}", got=f"{kept}, {properties.message_id}"
            )
        if body.decode(errors="replace") != job:
            self.reject("", "the dead letter's body is not the job's", job, expected=job, got=body)

    def lets_others_pass(self) -> None:
        """While one job waits for a long time, another comes, fails once, and is due soon; then the broker restarts."""
        self.fresh_queue("orders")
        slow, quick = self.name(), self.name()
        with self.start([200, LONG_MS], [slow, quick]) as child:
            self.publish(slow)
            self.until(child, lambda: self.tried(slow) == 2, f"the second attempt at {slow}")
            self.tap.note(f"check: {slow} has to wait for {LONG_MS} ms now; {quick} comes")
            self.publish(quick)
            try:
                self.until(child, lambda: self.tried(quick), f"the first attempt at {quick}", PATIENCE_S)
            except TimeoutError:
                what = f"while {slow} waits for its next attempt, nothing else is handled"
                self.reject("sleeps_in_the_consumer", what, quick, expected=f"{quick} handled meanwhile", got="nothing")
            try:
                self.until(child, lambda: self.tried(quick) == 2, f"the second attempt at {quick}", PATIENCE_S)
            except TimeoutError:
                what = f"{quick} was due after 200 ms, and it lies behind {slow}, which is due after {LONG_MS} ms"
                self.reject("one_queue_for_all_delays", what, quick, expected="its second attempt", got="nothing")
            bodies = [slow.encode(), quick.encode()]
            try:
                self.until(
                    child, lambda: self.settled(*bodies, since=self.begun) == 4, "both to be laid aside", PATIENCE_S
                )
            except TimeoutError:
                what = f"{slow} and {quick} wait for {LONG_MS} ms, and the worker has not let go of them"
                got = f"{self.settled(*bodies, since=self.begun)} of 4 deliveries settled"
                self.reject("sleeps_in_the_consumer", what, slow, expected="both in a queue of the broker", got=got)
            self.kill(child, queue=self.queue, why=f"{slow} and {quick} both wait")
        self.tap.note("check: the broker shuts down, and starts again")
        with self.broker.down():
            pass
        if (copies := self.copies()) < 2:
            what = f"two jobs waited for their next attempt when the broker was restarted, and {2 - copies} are gone"
            self.reject("forgets_persistence", what, slow, expected="both in their queues", got=copies)

    def publishes_to_a_queue_that_is_gone(self) -> None:
        """The copy of a failed job is on its way to the broker, and its queue is deleted under it."""
        self.fresh_queue("reports")
        job = self.name()
        body = job.encode()
        moves = ("Basic.Publish", "Basic.Ack", "Basic.Nack", "Basic.Reject")
        stop = self.tap.stop_at(lambda event: event.sent and event.name in moves and body in event.bodies)
        with self.start([LONG_MS], [job]) as child:
            self.publish(job)
            if self.reach(child, stop, f"{job}, which failed, to be laid aside").name != "Basic.Publish":
                self.settled_before_copied(child, stop, job)
            for queue in self.own_queues:
                self.tap.note(f"check: held; the queue {queue} is deleted")
                self.broker.delete(queue)
            passed = len(self.tap.events)
            stop.release()
            with contextlib.suppress(ChildEnded, TimeoutError):  # it may end, or wait: the job is still the broker's
                self.until(child, lambda: self.settled(body, since=passed), "a decision", 5)
            self.kill(child, queue=self.queue, why="whatever it has not acknowledged is the broker's again")
        if not self.copies():
            what = f"no queue took the copy of {job}, the original was acknowledged, and the job is lost"
            self.reject("trusts_the_publish", what, job, expected=f"{job} in some queue", got="in none")

    def settled_before_copied(self, child: Child, stop: Stop, job: str) -> NoReturn:
        """Let the acknowledgement through, and kill the worker before the copy follows."""
        behind = self.tap.stop_at(lambda event: event.sent and event.name == "Basic.Publish")
        stop.release()
        with contextlib.suppress(ChildEnded, TimeoutError):
            self.until(child, lambda: behind.reached, "the copy", 5)
        self.kill(child, behind, queue=self.queue, why=f"the broker has got no copy of {job}")
        left = self.copies()
        what = f"the worker let go of {job} before it had published a copy, and was killed in between: {left} are left"
        self.reject("loses_the_message_between_queues", what, job, expected="one, in some queue", got=left)

    def counts_across_processes(self) -> None:
        """Between two attempts the worker's process is replaced by a new one."""
        self.fresh_queue("backups")
        job, dead = self.name(), f"{self.queue}.dead"
        with self.start([300], [job]) as child:
            self.publish(job)
            self.until(child, lambda: self.settled(job.encode(), since=self.begun), f"{job} to be laid aside")
            self.until(child, lambda: self.tried(job), "the handler")
            self.kill(child, queue=self.queue, why=f"{job} waits for its second and last attempt")
        before = self.tried(job)  # more than one when the machine was slow to kill it
        with self.start([300], [job]) as child:
            self.until(child, lambda: self.tried(job) > 2 or self.broker.ready(dead), f"{job} to get to {dead}")
        if (count := self.tried(job)) > 2:
            what = f"one delay makes two attempts; the worker was replaced after {before}, and the new one counted anew"
            self.reject("counts_in_memory", what, job, expected="2 attempts in all", got=f"{count} attempts")
