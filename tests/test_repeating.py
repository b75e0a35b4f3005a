"""What is repeated ends with its block."""

from __future__ import annotations

import threading

from labsupport.repeating import every


def test_an_action_is_repeated_until_the_block_ends_and_never_after():
    twice, calls = threading.Event(), []

    def act() -> None:
        calls.append(threading.current_thread())
        if len(calls) > 1:
            twice.set()

    with every(0.001, act):
        assert twice.wait(60)
    assert not any(thread.is_alive() for thread in calls)
