"""Runs a workload against a cluster of processes: clients in threads, a pace, faults, and a quiet end.

The order of things is Jepsen's: clients work at the given rate while the nemesis strikes; then everything heals, the
cluster is left alone for a while, and every client takes its final steps.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from labsupport.cluster.report import NodeCrashed
from labsupport.errors import ServiceError
from labsupport.history import Ending, History, Operation
from labsupport.messages import RequestFailed
from labsupport.workloads.results import Record
from labsupport.workloads.strokes import Stroke
from labsupport.workloads.workload import CRASH, Attempt, Seat, Step, Workload

RECOVERY_S = 10.0  # as in Maelstrom: gossip that comes every few seconds has to have come round
GREETING_S = 10.0  # how long a node may take to understand the greeting
LOOK_S = 0.1  # how often somebody looks whether all nodes are alive


class Running:
    """One run.

    Args:
        workload: what the clients do.
        cluster: a `labsupport.cluster.Cluster` that has started.
        rate: steps per second of all clients together, on average.
        time_limit_s: how long.
        strokes: what the nemesis does, see `strokes.plan`.
        recovery_s: how long the cluster is left alone before the final steps.
        tell: called with a few words whenever a new part begins.
    """

    def __init__(
        self,
        workload: Workload,
        cluster: Any,
        *,
        rate: float = 5.0,
        time_limit_s: float = 60.0,
        strokes: Sequence[Stroke] = (),
        recovery_s: float = RECOVERY_S,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.workload, self.cluster, self.rate, self.time_limit_s = workload, cluster, rate, time_limit_s
        self.strokes, self.recovery_s, self.tell = strokes, recovery_s, tell
        self.record = Record()
        self._random = random.Random(f"{workload.setting.seed} pace")
        self._operations: list[Operation] = []
        self._callers: dict[int, Any] = {}  # the client in each seat
        self._done: queue.SimpleQueue = queue.SimpleQueue()  # what has ended: (seat, step, attempt)
        self._rest = threading.Event()  # the nemesis rests
        self._broken = threading.Event()  # something happened after which nothing is worth doing
        self._bugs: list[BaseException] = []

    def run(self) -> Record:
        """Do it; what happened."""
        setting = self.workload.setting
        seats = [Seat(number, setting.nodes[number % len(setting.nodes)]) for number in range(setting.concurrency)]
        for seat in seats:
            self._sit(seat)
        self._began = time.monotonic()
        with ThreadPoolExecutor(max(len(seats), len(setting.nodes))) as pool, self._watched():
            list(pool.map(self._greet, setting.nodes))
            self.tell(f"{self.workload.name}: {len(seats)} clients at {self.rate:g}/s for {self.time_limit_s:g} s")
            self._began = time.monotonic()
            with self._struck():
                self._work(pool, seats)
            if self.workload.ends_with_reads and not self._broken.is_set():
                self.tell(f"all is healed; {self.recovery_s:g} s to recover, then the final reads")
                self._broken.wait(self.recovery_s)
                self.record.final_from = self._now_ms
                list(pool.map(self._take_final_steps, seats))
        if self._bugs:
            raise self._bugs[0]
        self.record.history = History(self._operations)
        return self.record

    @property
    def _now_ms(self) -> float:
        return round((time.monotonic() - self._began) * 1000, 3)

    # -------------------------------------------------------------------------------------------- clients

    def _work(self, pool: Executor, seats: list[Seat]) -> None:
        """Give steps to idle clients, at the given pace, until the time is up; then wait for what is under way."""
        idle, due_s = list(seats), 0.0
        while not self._broken.is_set():
            due_s += self._random.uniform(0, 2 / self.rate) if self.rate else self.time_limit_s
            self._broken.wait(max(min(due_s, self.time_limit_s) - self._now_ms / 1000, 0))
            left_s = self.time_limit_s - self._now_ms / 1000
            idle += self._ended(0 if idle else max(left_s, 0))
            if not idle or left_s <= 0:
                break
            seat = idle.pop(self._random.randrange(len(idle)))
            pool.submit(self._perform_one, seat, self.workload.step(seat))
        while len(idle) < len(seats):
            idle += self._ended(None)

    def _ended(self, wait_s: float | None) -> Iterator[Seat]:
        """Clients that are idle again; waits so long for the first one, for ever if None."""
        with contextlib.suppress(queue.Empty):
            while True:
                seat, step, attempt = self._done.get(timeout=wait_s)
                if attempt is not None:
                    self.workload.heard(step, attempt)
                yield seat
                wait_s = 0

    def _perform_one(self, seat: Seat, step: Step) -> None:
        attempt = None
        with self._bugs_kept():
            attempt = self._perform(seat, step)
        self._done.put((seat, step, attempt))

    def _take_final_steps(self, seat: Seat) -> None:
        limit_s = self.workload.final_limit_s
        give_up_at = time.monotonic() + limit_s
        with self._bugs_kept():
            for step in self.workload.final_steps(seat):
                if self._broken.is_set() or (limit_s and time.monotonic() > give_up_at):
                    break
                self._perform(seat, step)
                self._broken.wait(self.workload.final_pause_s)

    def _perform(self, seat: Seat, step: Step) -> Attempt:
        """One step, from its first request to its ending; on the record."""
        attempt = Attempt(self.workload, step, seat)
        called = self._now_ms
        self._carry(attempt, self._callers[seat.number], self.workload.timeout_s)
        if step.kind != CRASH:
            returned = None if attempt.ending is Ending.UNKNOWN else self._now_ms
            asked = seat.client, step.kind, step.key, step.value
            self._operations.append(Operation(*asked, attempt.result, called, returned, attempt.ending))
        if attempt.error:
            self.record.errors.append((step.kind, attempt.error, attempt.why))
        if attempt.ending is Ending.UNKNOWN:
            self._sit(seat)
        return attempt

    def _carry(self, attempt: Attempt, caller: Any, timeout_s: float) -> None:
        while attempt.request is not None:
            try:
                reply = caller.rpc(attempt.node, attempt.request, timeout_s=timeout_s)
            except (TimeoutError, RequestFailed) as error:
                attempt.failed(error)
            except NodeCrashed:
                attempt.failed(TimeoutError(f"{attempt.node} has ended by itself"))
            else:
                attempt.answered(reply)

    def _sit(self, seat: Seat) -> None:
        caller = self._callers[seat.number] = self.cluster.client()
        seat.sit(f"{caller.name}/{seat.node}")  # whom it asks is half of what a verdict has to say

    # -------------------------------------------------------------------------------------------- nodes

    def _greet(self, node: str) -> None:
        """Tell a node that has started what the workload has for it."""
        step = self.workload.greeting(node)
        if step is None or self._broken.is_set():
            return
        attempt = Attempt(self.workload, step, Seat(0, node))
        self._carry(attempt, self.cluster.client(), GREETING_S)
        if attempt.error:
            self.record.broken.append(f"{node} did not take {step.kind}: {attempt.error}. {attempt.why}")
            self._broken.set()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """End the run early when a node ends by itself."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_S):
                if self.cluster.crashed:
                    self._broken.set()
                    return

        watcher = threading.Thread(target=watch, name="watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    @contextlib.contextmanager
    def _struck(self) -> Iterator[None]:
        """The nemesis does what is planned, until the end; then all is healed."""
        nemesis = threading.Thread(target=self._strike_all, name="nemesis", daemon=True)
        nemesis.start()
        try:
            yield
        except BaseException:
            self._broken.set()
            raise
        finally:
            self._rest.set()
            nemesis.join()

    def _strike_all(self) -> None:
        down: set[str] = set()
        frozen: set[str] = set()
        with self._bugs_kept():
            for stroke in self.strokes:
                if self._rest.wait(max(stroke.at_s - self._now_ms / 1000, 0)):
                    break
                self._strike(stroke, down, frozen)
            self._rest.wait()
            if self._broken.is_set():
                return
            at_s = self._now_ms / 1000
            for what, nodes in (("resume", frozen), ("restart", down), ("heal", set())):
                if nodes or (what == "heal" and self.strokes):
                    self._strike(Stroke(at_s, what, tuple(sorted(nodes))), down, frozen)
            self.cluster.calm()

    def _strike(self, stroke: Stroke, down: set[str], frozen: set[str]) -> None:
        """Do it, and note who is down or frozen now: a node that is down cannot freeze, one that is frozen can die."""
        self.record.strokes.append(stroke)
        if stroke.what == "partition":
            self.cluster.partition(stroke.cuts)
        elif stroke.what == "heal":
            self.cluster.heal()
        for node in stroke.nodes:
            if stroke.what == "kill" and node not in down:
                self.cluster.kill(node)
                down.add(node)
                frozen.discard(node)
            elif stroke.what == "restart" and node in down:
                self.cluster.restart(node)
                down.discard(node)
                self._greet(node)
            elif stroke.what == "pause" and node not in down:
                self.cluster.pause(node)
                frozen.add(node)
            elif stroke.what == "resume" and node in frozen:
                self.cluster.resume(node)
                frozen.discard(node)

    @contextlib.contextmanager
    def _bugs_kept(self) -> Iterator[None]:
        """What a thread cannot bear ends the run, and is raised where the run was begun."""
        try:
            yield
        except (NodeCrashed, ServiceError) as error:  # a node that does not start again
            self.record.broken.append(str(error))
            self._broken.set()
        except BaseException as error:
            self._bugs.append(error)
            self._broken.set()
