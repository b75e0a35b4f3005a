"""One thread that waits for file descriptors, for times and for orders of others, and does one thing at a time."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import selectors
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from labsupport.errors import LabBug, ServiceError
from labsupport.nemesis import SECOND

CHECK_S = 0.25  # how often somebody who waits for the thread looks whether it still lives


def stopped() -> ServiceError:
    """What to say to whoever still wants something."""
    return ServiceError("The cluster was stopped.", do="use it inside `with Cluster(...) as cluster:`", definite=True)


class Loop:
    """The thread and its calendar; all that a subclass holds belongs to this thread.

    Attributes:
        now_us: microseconds since the start, as of the present round.
    """

    def __init__(self, name: str) -> None:
        self.boot_s = self.origin_s = time.monotonic()  # time counts from the latter
        self.now_us = 0
        self._heap: list[tuple] = []
        self._turn = 0  # breaks ties, so that the heap never compares what its entries carry
        self._selector = selectors.DefaultSelector()
        self._posted: collections.deque[tuple[Callable, tuple]] = collections.deque()
        self._bell, self._rope = os.pipe()
        self._rung = self._stopping = self._closed = False
        self._ringing = threading.Lock()
        for fd in (self._bell, self._rope):
            os.set_blocking(fd, False)
        self.watch(self._bell, self._answer_bell, None)
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    # -------------------------------------------------------------------------------------------- from other threads

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def post(self, act: Callable, *args: Any) -> None:
        """Let the thread call something soon.

        Raises:
            ServiceError: it has ended.
        """
        self._posted.append((act, args))
        if not self._rung:
            with self._ringing:
                if self._closed:
                    raise stopped()
                self._rung = True
                os.write(self._rope, b".")

    def ask(self, act: Callable, *args: Any) -> Any:
        """Let the thread call something, and return what it returns or raise what it raises."""
        future: concurrent.futures.Future = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(act(*args))
            except BaseException as error:
                future.set_exception(error)

        self.check()
        self.post(run)
        while True:
            try:
                return future.result(CHECK_S)
            except concurrent.futures.TimeoutError:
                if not self._thread.is_alive() and not future.done():
                    self.check()
                    raise stopped() from None

    def check(self) -> None:
        """Raise if the thread has failed."""
        if self._broken is not None:
            raise LabBug(f"The thread {self._thread.name} has failed.", cause=repr(self._broken)) from self._broken

    def stop(self) -> None:
        """End the thread; returns when it has let go of everything."""
        if self._thread.is_alive():
            self.post(self._stop)
            self._thread.join()
        elif self._thread.ident is None and not self._stopping:
            self._stop()
            self._end()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive() and not self._stopping

    @property
    def now_s(self) -> float:
        """Seconds since the start, as of the present round."""
        return self.now_us / SECOND

    def clock_us(self) -> int:
        """Microseconds since the start, now."""
        return int((time.monotonic() - self.origin_s) * SECOND)

    # -------------------------------------------------------------------------------------------- in the thread

    def watch(self, fd: int, act: Callable, thing: Any, events: int = selectors.EVENT_READ) -> None:
        """Call ``act(thing)`` whenever there is something to read (or room to write)."""
        self._selector.register(fd, events, (act, thing))

    def unwatch(self, fd: int) -> bool:
        """Watch it no more; whether it was watched."""
        if fd not in self._selector.get_map():
            return False
        self._selector.unregister(fd)
        return True

    def failed(self, error: BaseException) -> None:
        """The thread ends by a mistake of ours."""

    def let_go(self) -> None:
        """The thread ends: release everything."""

    def after_round(self) -> None:
        """Everything that could be done has been done."""

    def _at(self, when_us: int, act: Callable, host: Any, thing: Any) -> None:
        """Call ``act(host, thing)`` at a time."""
        self._turn += 1
        heappush(self._heap, (when_us, self._turn, act, host, thing))

    def _set_back(self) -> int:
        """Let time begin now; how much has passed before."""
        before = self.clock_us()
        self.origin_s += before / SECOND
        self._heap[:] = [(when - before, *rest) for when, *rest in self._heap]
        self.now_us = 0
        return before

    def _work(self) -> None:
        try:
            while not self._stopping:
                self._round()
        except BaseException as error:
            self._broken = error
            self.failed(error)
        finally:
            self._stopping = True
            self._end()

    def _round(self) -> None:
        heap = self._heap
        wait = max(0.0, heap[0][0] / SECOND - (time.monotonic() - self.origin_s)) if heap else None
        ready = self._selector.select(wait)
        self.now_us = self.clock_us()
        for key, _ in ready:
            act, thing = key.data
            act(thing)
        while heap and heap[0][0] <= self.now_us:  # it may have been set back meanwhile
            _, _, act, host, thing = heappop(heap)
            act(host, thing)
        self.after_round()

    def _answer_bell(self, _: None) -> None:
        os.read(self._bell, 64)
        self._rung = False
        while self._posted:
            act, args = self._posted.popleft()
            act(*args)

    def _stop(self) -> None:
        self._stopping = True

    def _end(self) -> None:
        try:
            self.let_go()
        finally:
            self._selector.close()
            with self._ringing:
                self._closed, self._rung = True, False
                os.close(self._bell)
                os.close(self._rope)
