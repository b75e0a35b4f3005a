"""What is left two seconds after an owner of services has been killed with SIGKILL: processes and directories.

Half of the rounds kill the owner alone, half its whole process group, as Jupyter does to a kernel that is restarted:
four clusters that are up, the same at a random moment of their start, and every system of the course at once. A part
of it: ``bench orphans/every``.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.services.owners import CLUSTERS, EVERYTHING, Owner, leftovers

LIMIT_S = 2.0
UP_S = 600.0  # what a busy machine may take to start every system
# What is up, in how many rounds, and within how many seconds of the start the owner is killed (None: when all are up).
CASES = {
    "four clusters up": (CLUSTERS, 50, None),
    "four clusters at a random moment of their start": (CLUSTERS, 50, 3.0),
    "every system up": (EVERYTHING, 20, None),
}


def one_round(root: Path, services: str, *, group: bool, after_s: float | None) -> tuple[int, float]:
    """Kill one owner; returns how many things are left after two seconds, and the ms until nothing was."""
    with Owner(root, f"{services}; tell('starting'); start_all(*services); tell('up'); time.sleep(600)") as owner:
        owner.hear()
        if after_s is None:
            owner.hear(UP_S)
        else:
            time.sleep(after_s)
        owner.kill(group=group)
        killed = time.monotonic()
        while (left := leftovers(root)) and time.monotonic() - killed < LIMIT_S:
            time.sleep(0.01)
        return len(left), (time.monotonic() - killed) * 1000


def rows(quick: bool = False, part: str = "") -> Iterator[dict]:
    """Leftovers summed over all rounds, and how long it took until there were none."""
    moments = random.Random("orphans")
    for case, (services, rounds, longest_s) in CASES.items():
        if part not in case:
            continue
        rounds = 2 if quick else rounds
        left, took = [], []
        for turn in range(rounds):
            after_s = None if longest_s is None else moments.uniform(0, longest_s)
            with tempfile.TemporaryDirectory() as root:
                count, ms = one_round(Path(root).resolve(), services, group=bool(turn % 2), after_s=after_s)
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
