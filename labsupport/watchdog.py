"""Ends a handler that does not return: a loop without end would stop a notebook, a check, a whole class's grading.

A thread looks twice a second at what the watched thread is doing. If it is still inside the same call of a handler and
the process has worked for seconds meanwhile, `Endless` is raised there. Nothing is asked of the watched code, so this
costs it nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from types import CodeType, FrameType, TracebackType

MOST_S = 2.0  # of work in one call; handlers take microseconds, so only a loop without end gets there
PERIOD_S = 0.5


class Endless(BaseException):
    """A handler did not return; not an Exception, so that a learner's `except Exception` in the loop lets it pass."""


class Watchdog:
    """Watches the thread that makes it, until the `with` block ends.

    Args:
        drivers: the functions that call one handler after the other; whatever they have called is one call.
    """

    def __init__(self, drivers: frozenset[CodeType]) -> None:
        self._drivers = drivers
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> None:
        with contextlib.suppress(RuntimeError):  # where no more threads may be started, nobody watches
            self._thread.start()

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        last, since = None, 0.0
        while not self._over.wait(PERIOD_S):
            call, worked = self._call(), time.process_time()
            if call is None or call is not last:
                last, since = call, worked
            elif worked - since > MOST_S:
                _interrupt(self._watched)
                since = worked

    def _call(self) -> FrameType | None:
        """What a driver has called and is now waiting for; it is another frame for each call."""
        frame = sys._current_frames().get(self._watched)
        while frame is not None and (frame.f_back is None or frame.f_back.f_code not in self._drivers):
            frame = frame.f_back
        return frame


def _interrupt(thread: int) -> None:
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Endless))
