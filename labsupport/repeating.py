"""Something that is done again and again beside other work: a line of progress, the renewal of a lease."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Call an action again and again from another thread, as long as the block runs."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(seconds):
            action()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
