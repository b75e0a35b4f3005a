"""The check of exercise 12.1: a RabbitMQ worker whose effect in Redis happens once, wherever its process is killed.

A tap (`wiretap`) between the worker and the servers holds one chosen message on its way; there the worker is killed, or
the broker restarted. What is rare in production happens in every run.
Acknowledgements, redelivery and prefetch: https://www.rabbitmq.com/docs/confirms; dead-letter exchanges:
https://www.rabbitmq.com/docs/dlx; transactions and scripts are atomic: https://redis.io/docs/latest/develop/using-commands/.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, NoReturn

import redis

from labsupport.exercises.answer import Answer, Child, ChildEnded
from labsupport.exercises.checking import Run
from labsupport.exercises.workqueues.bench import ACK, PATIENCE_S, WAIT_S, Broker, WorkerBench
from labsupport.exercises.workqueues.wiretap import Event, Stop, Wiretap
from labsupport.services import Redis

IN_HAND = 10  # so many unacknowledged jobs may one worker hold; the exercise says so
AGAIN_AND_AGAIN = 5  # deliveries of one message that nobody can take for a coincidence
FAREWELLS = ("Basic.Cancel", "Channel.Close", "Connection.Close")


@dataclasses.dataclass(frozen=True)
class Job:
    """Two numbers whose sum belongs into the ledger, once."""

    id: str
    a: int
    b: int

    @property
    def sum(self) -> int:
        return self.a + self.b

    @property
    def body(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @property
    def marks(self) -> tuple[str, str]:
        """What a command to the store that is about this job has among its arguments."""
        return self.id, str(self.sum)


def run_worker(given: Any, tell: Callable[..., None], rabbit_url: str, store_url: str, queue: str) -> None:
    """In the child: the learner's worker, until it returns."""
    given.worker(rabbit_url, store_url, queue)


def check_worker(answer: Answer, run: Run) -> str:
    """Kill the worker before and after its effect, restart the broker, let two workers race, and drain one."""
    with Broker.of(run) as broker, run.lend(Redis) as store, Wiretap() as tap:
        return CrashTest(answer, run, broker, store, tap).go()


class CrashTest(WorkerBench):
    """A queue, a ledger, and the same worker killed at one point after the other."""

    def __init__(self, answer: Answer, run: Run, broker: Broker, store: Redis, tap: Wiretap) -> None:
        super().__init__(answer, run, broker, tap)
        self.queue = f"sums-{run.random.randrange(16**4):04x}"
        self.store = redis.Redis.from_url(store.url)
        self.contents: dict[bytes, bytes] = {}
        self.urls = {who: (broker.behind(tap, who), tap.resp(store.url, who)) for who in ("worker", "other worker")}
        self.jobs: list[Job] = []  # all that belong into the ledger

    def go(self) -> str:
        for queue in (self.queue, self.other_queue):
            dead = f"{queue}.dead"
            self.broker.declare(dead)
            self.broker.declare(queue, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        batch = self.draw_jobs(100 if self.run.full else 24)
        self.publish(*batch)
        self.killed_before_the_effect(batch)
        child = self.start()
        self.works_off(child, batch)
        self.gets_a_duplicate(child, "not_idempotent", "the same job came a second time, and was counted again")
        self.gets_poison(child)
        self.stops_when_idle(child)
        child = self.start()
        self.gets_a_duplicate(child, "remembers_in_memory", "a new process got a job that an earlier one had done")
        child = self.killed_after_each_change(child)
        self.races(child)
        count = len(self.jobs)
        self.drains(child)
        return (
            f"{count} jobs; the worker killed before and after its effect, the broker restarted under an "
            "acknowledgement, a duplicate, two workers with one job, poison, SIGTERM: each sum is in the ledger once"
        )

    @property
    def other_queue(self) -> str:
        return f"{self.queue}-b"

    def start(self, who: str = "worker", queue: str = "") -> Child:
        rabbit_url, store_url = self.urls[who]
        return self.answer.start(run_worker, rabbit_url=rabbit_url, store_url=store_url, queue=queue or self.queue)

    # ---------------------------------------------------------------- jobs and ledger

    def draw_jobs(self, count: int) -> list[Job]:
        """Jobs with ids and sums that no other job has."""
        draw, taken = self.run.random, {mark for job in self.jobs for mark in job.marks}
        jobs: list[Job] = []
        while len(jobs) < count:
            job = Job(f"job-{draw.randrange(16**6):06x}", draw.randrange(10**5, 10**6), draw.randrange(10**5, 10**6))
            if taken.isdisjoint(job.marks):
                taken.update(job.marks)
                jobs.append(job)
        self.jobs += jobs
        return jobs

    def publish(self, *jobs: Job, queue: str = "") -> None:
        self.broker.publish(queue or self.queue, *(job.body for job in jobs))

    def fault_of_ledger(self) -> str:
        """What is wrong with the ledger, as a phrase; "" when it holds every job once."""
        try:
            sums = {key.decode(): value.decode() for key, value in self.store.hgetall("sums").items()}
            total = int(self.store.get("total") or 0)
            difference = total - sum(map(int, sums.values()))
        except (redis.ResponseError, ValueError) as error:
            return f"it cannot be read ({error})"
        for job in self.jobs:
            if sums.get(job.id, str(job.sum)) != str(job.sum):
                return f"sums has {sums[job.id]} for {job.id}, and {job.a} + {job.b} is {job.sum}"
        ids = {job.id for job in self.jobs}
        if stray := sorted(set(sums) - ids):
            return f"sums has an entry {stray[0]!r}, which is no job's id"
        if missing := sorted(ids - set(sums)):
            return f"sums lacks {len(missing)} of {len(ids)} jobs, such as {missing[0]}"
        whose = next((f", the sum of {job.id}" for job in self.jobs if job.sum == abs(difference)), "")
        side = "large" if difference > 0 else "small"
        return f"total is too {side} by {abs(difference)}{whose}" if difference else ""

    def must_be_right(self, name: str, summary: str, job: Job, since: int) -> None:
        """Reject the answer by `name` unless the ledger holds every job once."""
        if fault := self.fault_of_ledger():
            self.run.reject(
                name,
                f"{summary}: {fault}",
                expected="the sum of each job in sums and in total, once",
                got=fault,
                evidence=self.evidence(job, since=since),
            )

    def evidence(self, job: Job, since: int = 0) -> list[str]:
        """The history of one job, and what the ledger says of it now."""
        value = (self.store.hget("sums", job.id) or b"nothing").decode()
        total = (self.store.get("total") or b"nothing").decode()
        return [*self.tap.history(*job.marks, since=since), f"ledger: sums[{job.id}] is {value}, total is {total}"]

    def store_changed(self) -> bool:
        """Whether the store holds something else, under whatever key, than when this was asked last."""
        before, self.contents = self.contents, {key: self.store.dump(key) for key in sorted(self.store.keys())}
        return self.contents != before

    # ---------------------------------------------------------------- experiments on acknowledgements

    def killed_before_the_effect(self, batch: list[Job]) -> None:
        """With the first job on its way to the store, nothing is done, so nothing may be acknowledged."""
        marks = [mark for job in batch for mark in job.marks]
        stop = self.tap.stop_at(lambda event: event.is_command and event.concerns(marks))
        child = self.start()
        command = self.reach(child, stop, "a first job to get from the queue to the ledger")
        job = next(job for job in batch if command.concerns(job.marks))
        held = len(batch) - self.broker.ready(self.queue)
        self.kill(child, stop, queue=self.queue, why=f"its command for {job.id} never reaches the store")
        self.run.wait_until(lambda: not self.broker.unacked(self.queue), "the jobs in hand to be back")
        left = self.broker.ready(self.queue)
        self.tap.note(f"check: {held} jobs were with the worker, and {left} of {len(batch)} are in the queue now")
        lost = len(batch) - left
        if lost > 1:
            name, what = "auto_ack", f"the worker was killed before it had done anything, and {lost} jobs are lost"
        elif lost:
            name, what = "ack_before_work", f"the worker was killed before the ledger had {job.id}, and the job is lost"
        elif held > IN_HAND:
            name, what = "unlimited_prefetch", f"one worker took {held} of {len(batch)} jobs before it had done one"
        else:
            return
        wanted = f"at most {IN_HAND} jobs with one worker" if not lost else f"all {len(batch)} jobs in the queue again"
        self.run.reject(name, what, expected=wanted, got=held if not lost else left, evidence=self.evidence(job))

    def works_off(self, child: Child, batch: list[Job]) -> None:
        """A second worker gets all jobs, those that the killed one had in hand marked as redelivered."""
        begun, bodies = len(self.tap.events), [job.body for job in batch]
        in_hand = {job for job in batch if self.delivered(job.body)}
        try:
            all_done = functools.partial(self.all_settled, bodies, begun)
            self.until(child, all_done, "the worker to do all jobs", PATIENCE_S)
        except TimeoutError as timeout:
            done = self.settled(*bodies, since=begun)
            self.run.reject(
                "" if done else "never_acks",
                f"{timeout}; it has acknowledged {done} of {len(batch)}, and {self.store.hlen('sums')} are in sums",
                expected=f"{len(batch)} acknowledgements",
                got=done,
                evidence=self.evidence(batch[0], since=begun),
            )
        missing = [job for job in batch if not self.store.hexists("sums", job.id)]
        if missing and in_hand.issuperset(missing):
            name, job = "trusts_redelivered", missing[0]
        else:
            name, job = "", (missing or batch)[0]
        self.must_be_right(name, "every job is acknowledged, and the ledger is wrong", job, since=0 if name else begun)

    def gets_a_duplicate(self, child: Child, name: str, summary: str) -> None:
        """A publisher that saw no confirm publishes again: the same job in a message of its own."""
        begun, job, (behind,) = len(self.tap.events), self.jobs[0], self.draw_jobs(1)
        self.publish(job, behind)
        done = functools.partial(self.all_settled, [job.body, behind.body], begun)
        self.until(child, done, f"{job.id} to be acknowledged a second time")
        self.must_be_right(name, summary, job, begun)

    # ---------------------------------------------------------------- experiments on poison and SIGTERM

    def gets_poison(self, child: Child) -> None:
        """Two bodies that are no jobs, and a job behind them."""
        begun, (behind,) = len(self.tap.events), self.draw_jobs(1)
        poison = [b"sum of two numbers", json.dumps({"id": "job-torn", "a": 1}).encode()]
        self.run.random.shuffle(poison)
        self.broker.publish(self.queue, *poison, behind.body)
        texts, dead = [body.decode() for body in poison], f"{self.queue}.dead"

        def outcome() -> str:
            if any(self.delivered(body) >= AGAIN_AND_AGAIN for body in poison):
                return "repeated"
            return "settled" if self.all_settled([*poison, behind.body], begun) else ""

        def reject(name: str, what: str, got: str, *more: str) -> NoReturn:
            evidence = [*self.tap.history(*texts, since=begun), *more]
            self.run.reject(name, what, expected=f"both in {dead}", got=got, evidence=evidence)

        try:
            how = self.until(child, outcome, "two bodies that are no jobs, and a job behind them, to be settled")
        except ChildEnded as ended:
            if not ended.child.failure:
                raise
            kind, lines = ended.child.failure.kind, ended.child.failure.lines
            reject("dies_of_poison", f"the worker died of a body that is no job: {kind}", kind, *lines)
        if how == "repeated":
            times = max(self.delivered(body) for body in poison)
            reject("requeues_poison_for_ever", f"a body that is no job was delivered {times} times", "again and again")
        acknowledged = self.settled(*poison, how=[ACK])
        with contextlib.suppress(TimeoutError):
            wanted = 0 if acknowledged else len(poison)
            self.run.wait_until(lambda: self.broker.ready(dead) >= wanted, "the dead-letter queue", 5)
        if missing := len(poison) - self.broker.ready(dead):
            reject("discards_poison", f"{missing} of 2 bodies that are no jobs are gone without a trace", "gone")
        self.must_be_right("", "bodies that are no jobs came by, and the ledger is wrong", behind, begun)

    def stops_when_idle(self, child: Child) -> None:
        """SIGTERM while the queue is empty: the code waits for the broker, and the signal has to wake it."""
        begun = len(self.tap.events)
        self.tap.note("check: SIGTERM to the worker, which has nothing to do")
        child.terminate()
        if not child.wait(PATIENCE_S):
            self.run.reject(
                "ignores_sigterm",
                f"the worker had nothing to do, and {PATIENCE_S:g} s after SIGTERM it still runs",
                expected="it leaves",
                got="it waits for the next job",
                evidence=self.tap.history(since=begun),
            )
        self.gone(self.queue)
        if left := self.broker.ready(self.queue):
            self.run.reject(
                "never_acks",
                f"every job is in the ledger, and when the worker left, {left} of them were put back into the queue",
                expected="an empty queue",
                got=f"{left} jobs",
                evidence=self.tap.history(since=begun),
            )

    def drains(self, child: Child) -> None:
        """SIGTERM while a job is on its way to the ledger, and many more wait."""
        begun, batch = len(self.tap.events), self.draw_jobs(4 * IN_HAND)
        marks, bodies = [mark for job in batch for mark in job.marks], [job.body for job in batch]

        def next_command() -> Stop:
            return self.tap.stop_at(lambda event: event.is_command and event.concerns(marks))

        stop = next_command()
        self.publish(*batch)
        command = self.reach(child, stop, "a job to get to the ledger")
        job = next(job for job in batch if command.concerns(job.marks))
        held = len(batch) - self.broker.ready(self.queue)
        self.tap.note(f"check: SIGTERM to the worker, which is about to write {job.id} into the ledger")
        child.terminate()
        while stop.reached and child.running:
            if (done := self.settled(*bodies, since=begun)) > 2 * IN_HAND:
                self.run.reject(
                    "drains_the_queue",
                    f"SIGTERM came while it did {job.id}, and {done} jobs later it still takes the next one",
                    expected=f"it ends after the job in hand, or the {IN_HAND} that it may hold",
                    got="it goes on as long as there are jobs",
                    evidence=[str(event) for event in self.tap.events[begun:] if event.name in ("", ACK)][:12],
                )
            # For every acknowledgement the broker sends another job. On a busy machine that may take long, and a worker
            # that stops when its buffer is empty would stop by luck: the next command waits until the buffer is full.
            with contextlib.suppress(TimeoutError):
                self.run.wait_until(lambda: self.refilled(bodies, begun, held), "the next delivery", 0.5, every_s=0.005)
            before, stop = stop, next_command()
            before.release()
            over = functools.partial(self.held_or_over, child, stop)
            self.run.wait_until(over, "the worker to leave after SIGTERM", WAIT_S)
        stop.release()  # a worker that died at once left its command behind there
        self.left_well(child, job, begun)

    def held_or_over(self, child: Child, stop: Stop) -> bool:
        return stop.reached or not child.running

    def refilled(self, bodies: list[bytes], begun: int, held: int) -> bool:
        """Whether the worker has as many jobs in hand as before, or has said that it wants no more."""
        events = self.tap.events[begun:]
        if any(event.sent and event.name in FAREWELLS for event in events):
            return True
        delivered = sum(not event.sent and event.name == "Basic.Deliver" for event in events)
        return delivered - self.settled(*bodies, since=begun) >= held

    def left_well(self, child: Child, job: Job, begun: int) -> None:
        """It has ended: the job in hand is done and acknowledged, and the broker was told."""
        child.wait(WAIT_S)
        if child.failure and child.failure.kind != "SystemExit":
            raise ChildEnded(child, "it to leave after SIGTERM")
        self.gone(self.queue)
        evidence = self.evidence(job, since=begun)
        if not self.settled(job.body, how=[ACK], since=begun) or not self.store.hexists("sums", job.id):
            self.run.reject(
                "dies_at_sigterm",
                f"SIGTERM came while {job.id} was in hand, and the process ended without finishing it",
                expected="the job in the ledger and acknowledged, then the end",
                got=f"ended by signal {-child.exit_status}" if (child.exit_status or 0) < 0 else "ended at once",
                evidence=evidence,
            )
        names = {event.name for event in self.tap.events[begun:] if event.sent}
        if names.isdisjoint(FAREWELLS):
            self.run.reject(
                "leaves_without_goodbye",
                "the process ended, and the broker found out by a broken connection",
                expected="the consumer cancelled or the connection closed",
                got="neither",
                evidence=evidence,
            )
        # Whatever it did not do is in the queue again; the ledger holds what it did.
        done = [each for each in self.jobs if self.store.hexists("sums", each.id)]
        undone = len(self.jobs) - len(done)
        self.jobs = done
        self.must_be_right("", "the worker left after SIGTERM, and the ledger is wrong", job, begun)
        if (left := self.broker.ready(self.queue)) != undone:
            self.run.reject("", f"{undone} jobs are not done, and {left} are in the queue", evidence=evidence)

    # ---------------------------------------------------------------- experiments on the ledger

    def killed_after_each_change(self, child: Child) -> Child:
        """One job is stopped at its first change of the store, the next at its second, until one gets through."""
        for count in range(1, 6):
            begun, (job,) = len(self.tap.events), self.draw_jobs(1)
            stop = self.tap.stop_at(self.nth_change(count, job))
            self.publish(job)
            event = self.reach(child, stop, f"{job.id} to get to the ledger")
            if event.name == ACK:
                return self.broker_restarted(child, stop, job, begun)
            command = event.content[0].upper()
            self.kill(child, stop, queue=self.queue, why=f"the store has done {command}, the worker has no reply yet")
            child = self.start()
            done = functools.partial(self.settled, job.body, since=begun)
            self.until(child, done, f"{job.id} to be done by the next worker")
            summary = f"the worker was killed after its {command}, and the next one got {job.id} again"
            self.must_be_right("mark_and_effect_in_two_steps", summary, job, begun)
        return child

    def nth_change(self, count: int, job: Job) -> Callable[[Event], bool]:
        """True at the reply to the command that makes the store's `count`-th change, or at its acknowledgement."""
        changes = 0
        self.store_changed()

        def wanted(event: Event) -> bool:
            nonlocal changes
            if event.name == "reply" and self.store_changed():
                changes += 1
                return changes == count
            return event.sent and event.name == ACK and job.body in event.bodies

        return wanted

    def broker_restarted(self, child: Child, stop: Stop, job: Job, begun: int) -> Child:
        """The broker goes down before it gets the acknowledgement of a job that is done."""
        self.tap.note("check: the broker shuts down without the acknowledgement, and starts again")
        since = len(self.tap.events)
        with self.broker.down():
            stop.cut()
        what = f"{job.id} to be acknowledged after the broker's return"
        try:
            self.until(child, lambda: self.settled(job.body, since=since), what)
        except ChildEnded:
            child = self.start()
            self.until(child, lambda: self.settled(job.body, since=since), what)
        self.must_be_right("", f"the broker was restarted, and {job.id} came again", job, begun)
        return child

    def races(self, child: Child) -> None:
        """Two workers have the same job, as when one was only believed dead; the other overtakes it at every point."""
        with self.start("other worker", self.other_queue) as other:
            for count in range(1, 5):
                if not self.overtaken(child, other, count):
                    break

    def overtaken(self, child: Child, other: Child, count: int) -> bool:
        """Hold the first worker before its `count`-th command about a job; False when it needs fewer commands."""
        begun, (job,) = len(self.tap.events), self.draw_jobs(1)
        done = functools.partial(self.settled, job.body, since=begun, who="worker")
        done_by_other = functools.partial(self.settled, job.body, since=begun, who="other worker")
        stop = self.tap.stop_at(_nth_command(count, job))
        self.publish(job)
        self.until(child, lambda: stop.reached or done(), f"{job.id} to get to the ledger")
        if not stop.reached:
            return False
        self.tap.note(f"check: held; the other worker gets {job.id} too")
        self.publish(job, queue=self.other_queue)
        with contextlib.suppress(TimeoutError):  # it may wait for a lock that the first one holds
            self.until(other, done_by_other, f"the other worker to do {job.id}", 5)
        self.tap.note("check: the first worker goes on")
        stop.release()
        self.until(child, done, f"{job.id} to be acknowledged")
        self.until(other, done_by_other, f"{job.id} to be acknowledged by the other worker")
        self.must_be_right("checks_then_acts", f"two workers had {job.id} at the same time", job, begun)
        return True


def _nth_command(count: int, job: Job) -> Callable[[Event], bool]:
    """True at the first worker's `count`-th command about the job."""
    seen = 0

    def wanted(event: Event) -> bool:
        nonlocal seen
        seen += event.who == "worker" and event.is_command and event.concerns(job.marks)
        return seen == count

    return wanted
