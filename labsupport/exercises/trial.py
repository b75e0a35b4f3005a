"""Try an answer from a file, as the tests do: ``python -m labsupport.exercises.trial 12.1 FILE [--repeat 20]``."""

from __future__ import annotations

import argparse
import collections
import sys
import time

from labsupport.exercises import catalogue
from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import run_check
from labsupport.view.cards import VerdictCard


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exercise")
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further one takes the next")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="as in grading")
    args = parser.parse_args()
    exercise = catalogue.find(args.exercise)
    tally: collections.Counter[str] = collections.Counter()
    for seed in range(args.seed, args.seed + args.repeat):
        started = time.monotonic()
        verdict = run_check(exercise, Answer.from_file(exercise.takes, args.file), seed=seed, full=args.full)
        tally[f"{verdict.outcome.value} {verdict.misconception}".strip()] += 1
        print(VerdictCard(verdict, misconception=exercise.misconceptions.get(verdict.misconception, "")).text())
        print(f"  ({time.monotonic() - started:.1f} s, seed {seed})", flush=True)
    if args.repeat > 1:
        print(dict(tally))
    return 0


if __name__ == "__main__":
    sys.exit(main())
