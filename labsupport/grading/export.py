"""Make what another grading system needs to grade a lesson as `grade` does: ``python3 -m labsupport export``.

Gradescope gets an autograder (https://gradescope-autograders.readthedocs.io), a folder and the zip file to upload, with
``setup.sh``, ``run_autograder`` and the course as learners get it. Gradescope runs ``setup.sh`` once, when it makes the
image: it brings what the lesson needs and then grades the lesson's solved notebook, so that no image comes into being
in which a right answer would fail; that notebook is removed at the end. It starts ``run_autograder`` for each
submission; what that does is in `labsupport.grading.autograder`.

Otter gets nothing. It runs its tests inside of the kernel that runs the submission and believes what that kernel tells,
so that one line of a submission gives full marks; it loads a pickle which that kernel wrote, so that a submission can
run code in the grader; and it stops no cell that does not end. None of our promises to an instructor would hold there.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from labsupport.errors import LearnerError
from labsupport.exercises import catalogue
from labsupport.grading import release

SETUP = """#!/bin/sh
# Gradescope runs this once, when it makes the image: it brings what lesson {number} needs, and proves that the solved
# notebook gets full marks here.
set -e
apt-get update
apt-get install -y --no-install-recommends python3 python3-venv
cd "$(dirname "$0")/course"
python3 -m labsupport autograde {number} --prove
rm -r solutions
"""
RUN = """#!/bin/sh
# Gradescope runs this for each submission: it writes results/results.json. All of a class are graded on one seed.
root="${{AUTOGRADER:-/autograder}}"
cd "$root/source/course" && exec python3 -m labsupport autograde {number} --root "$root" --seed {seed}
"""


def gradescope(number: str, folder: Path, seed: int) -> None:
    """Write an autograder of one lesson to a new folder, and the zip file to upload beside it.

    Raises:
        LearnerError: there is no such lesson, or the folder or the zip file is there already.
    """
    if number not in catalogue.lesson_numbers():
        raise LearnerError(f"there is no lesson {number}", do=f"choose from {', '.join(catalogue.lesson_numbers())}")
    solved = f"solutions/{catalogue.lesson(number).notebook}.ipynb"
    scripts = {"setup.sh": SETUP.format(number=number), "run_autograder": RUN.format(number=number, seed=seed)}
    course = {**release.given_out(), solved: (release.ROOT / solved).read_bytes()}
    files = {name: text.encode() for name, text in scripts.items()}
    release.pack(folder, files | {f"course/{name}": data for name, data in course.items()})


def main(arguments: argparse.Namespace) -> int:
    """``export``: write the folder and the zip file, and say what to do with them."""
    if arguments.system == "otter":
        raise LearnerError(
            "There is no export for Otter.",
            cause="Otter's tests run inside of the submission's own kernel, which can forge their results, run code in "
            "the grader through a pickle, and keep it waiting for ever",
            do="grade with `python3 -m labsupport grade`, or export to Gradescope, where our own grader runs",
        )
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    gradescope(arguments.lesson, arguments.out, seed)
    print(
        f"Upload {arguments.out}.zip as the autograder of a programming assignment of "
        f"{catalogue.lesson(arguments.lesson).points} points. Give its container 2 CPUs and 3 GB of memory, and a time "
        f"limit of 20 minutes: the checks start real systems. All submissions are graded on the seed {seed}.",
        file=sys.stderr,
    )
    return 0
