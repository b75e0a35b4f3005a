"""What is left two seconds after the owner of four clusters has been killed with SIGKILL: processes and directories.

Half of the rounds kill the owner alone, half its whole process group, as Jupyter does to a kernel that is restarted.
Then the same at a random moment of the start.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.services.owners import CLUSTERS, Owner, leftovers

ROUNDS, QUICK_ROUNDS = 50, 3
LIMIT_S = 2.0
UP = f"{CLUSTERS}; tell('starting'); start_all(*services); tell('up'); time.sleep(600)"


def one_round(root: Path, *, group: bool, after_s: float | None) -> tuple[int, float]:
    """Kill one owner; returns how many things are left after two seconds, and the ms until nothing was."""
    with Owner(root, UP) as owner:
        owner.hear()
        if after_s is None:
            owner.hear()
        else:
            time.sleep(after_s)
        owner.kill(group=group)
        killed = time.monotonic()
        while (left := leftovers(root)) and time.monotonic() - killed < LIMIT_S:
            time.sleep(0.01)
        return len(left), (time.monotonic() - killed) * 1000


def rows(quick: bool = False) -> Iterator[dict]:
    """Leftovers summed over all rounds, and how long it took until there were none."""
    rounds, moments = QUICK_ROUNDS if quick else ROUNDS, random.Random("orphans")
    for case, longest_s in (("four clusters up", None), ("at a random moment of their start", 3.0)):
        left, took = [], []
        for turn in range(rounds):
            after_s = None if longest_s is None else moments.uniform(0, longest_s)
            with tempfile.TemporaryDirectory() as root:
                count, ms = one_round(Path(root).resolve(), group=bool(turn % 2), after_s=after_s)
            left.append(count)
            took.append(ms)
        yield {
            "case": f"owner killed {rounds} times, {case}: left after {LIMIT_S:g} s",
            "value": sum(left),
            "unit": "processes and directories",
            "goal": "0",
            "holds": sum(left) == 0,
        }
        yield {
            "case": f"owner killed, {case}: until nothing is left, median (worst {max(took):.0f} ms)",
            "value": round(statistics.median(took)),
            "unit": "ms",
        }
