"""The command line: what each of the commands that `_parser` lists does.

Standard library only at module level; each command makes or enters the course's environment first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from labsupport import environment
from labsupport.environment import ROOT, programs
from labsupport.errors import LabError

TESTED = (
    "dev",
    "java",
    "jre",
    "kafka",
    "cassandra",
    "dynamodb",
    "zookeeper",
    "gearman",
    "celery",
    "thrift",
    "spark",
)  # the extras without which some test cannot run


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit status: 0 all is well, 1 something does not hold, 2 could not be done, 130 Ctrl-C."""
    try:
        arguments, rest = _parser().parse_known_args(argv)
        if rest and not arguments.passes_on:
            _parser().error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.argv, arguments.rest = list(argv), rest
        return arguments.run(arguments)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m labsupport",
        description="A course on distributed systems that you run. On a fresh machine, start with: "
        "python3 -m labsupport lab",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, run, words: str, **more) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".", **more)
        sub.set_defaults(run=run, passes_on=False)
        return sub

    lab = command("lab", _lab, "install what is missing, then open JupyterLab on the first lesson")
    lab.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    lab.add_argument("--port", type=int, metavar="N", help="the port of JupyterLab (default: the first free from 8888)")

    test = command("test", _test, "install what is missing, then run the whole test suite", add_help=False)
    test.set_defaults(passes_on=True)

    doctor = command("doctor", _doctor, "show for every system: found where, which version, and what to do if not")
    doctor.add_argument("--json", action="store_true", help="print one JSON document instead")

    release = command("release", _release, "make lessons/ from solutions/")
    release.add_argument("--check", action="store_true", help="only say whether lessons/ is up to date")
    release.add_argument("--for-learners", type=Path, metavar="DIR", help="make what learners get, as DIR and DIR.zip")

    grade = command("grade", _grade, "grade what a class has handed in")
    grade.add_argument("places", nargs="+", metavar="SUBMISSIONS", help="folders, zip files of an LMS, or notebooks")
    grade.add_argument("--out", required=True, type=Path, metavar="RESULTS", help="the folder for the results")
    words = "grading processes (default: one per core, and more while the cores are idle)"
    grade.add_argument("--jobs", type=int, default=0, metavar="N", help=words)
    grade.add_argument("--seed", type=int, metavar="N", help="the checks' cases are drawn from it (default: as before)")
    grade.add_argument("--only", action="append", default=[], metavar="ID", help="this exercise only; may be repeated")
    grade.add_argument(
        "--timeout", type=float, default=300, metavar="S", help="for one exercise (default: %(default)s)"
    )
    grade.add_argument("--changes", type=Path, metavar="CSV", help="has columns learner, lesson, points, late, comment")
    grade.add_argument("--late-percent", type=float, default=0, metavar="P", help="what a late lesson loses")
    grade.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    grade.add_argument("--broker", default="", metavar="URL", help="of RabbitMQ: workers on other machines grade")

    grader = command("grade-worker", _grade_worker, "grade on this machine what `grade --broker` hands out")
    grader.add_argument("--broker", required=True, metavar="URL", help="of RabbitMQ: amqp://USER:PASSWORD@HOST:5672")
    grader.add_argument("--jobs", type=int, default=0, metavar="N", help="notebooks at a time (default: four per core)")
    for either in (grade, grader):
        words = "of Redis: redis://:PASSWORD@HOST:6379/0 (default: the broker's host and password)"
        either.add_argument("--results", default="", metavar="URL", help=words)

    export = command("export", _export, "make what another grading system needs to grade a lesson")
    export.add_argument("system", choices=["gradescope", "otter"], help="gradescope; for otter it says why not")
    export.add_argument("lesson", metavar="LESSON", help="its number, such as 12")
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="make the autograder as DIR and DIR.zip")
    export.add_argument("--seed", type=int, metavar="N", help="of all submissions' checks (default: a new one)")

    autograde = command("autograde", _autograde, "grade one submission inside of Gradescope (see export)")
    autograde.add_argument("lesson", metavar="LESSON", help="its number")
    autograde.add_argument("--root", type=Path, default="/autograder", metavar="DIR", help="default: %(default)s")
    autograde.add_argument("--seed", type=int, metavar="N", help="what the checks' cases are drawn from")
    autograde.add_argument("--prove", action="store_true", help="bring all, and grade the solved notebook instead")

    progress = command("progress", _progress, "show which exercises are done, and what comes next")
    progress.add_argument("--json", action="store_true", help="print one JSON document instead")

    bench = command("bench", _bench, "measure; every row that has a goal must hold it")
    bench.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks (default: all)")
    bench.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions")
    bench.add_argument("--picture", type=Path, metavar="FILE", help="draw the rows, as .svg or .png")

    up = command("up", _up, "keep systems running outside a notebook, and print where they are")
    up.add_argument("systems", nargs="+", metavar="SYSTEM", help="nats, redis, rabbitmq, etcd and so on")
    up.add_argument("--nodes", type=int, metavar="N", help="how many nodes of each (default: one)")
    command("down", _down, "end what `up` keeps running")

    command("fetch", _fetch, "bring everything that later lessons need, for a classroom without a network")

    words = "run programs that speak the Maelstrom protocol, or Node classes, against Maelstrom's workloads"
    maelstrom = command("maelstrom", _maelstrom, words, add_help=False)
    maelstrom.set_defaults(passes_on=True)
    return parser


def _lab(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv, wanted=programs.FOR_LESSONS)
    from labsupport.environment import lab

    return lab.run(ROOT, port=arguments.port, browser=not arguments.no_browser)


def _test(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv, extra=_without_a_second_java(TESTED), wanted=programs.FOR_TESTS, insist=True)
    _fetch_jars()
    browser = ROOT / "tests" / "browser"
    given = _from_here(arguments.rest)
    apart = [] if any(word.startswith(str(browser)) for word in given) else [f"--ignore={browser}"]
    worst = _pytest([*apart, *given])
    if browser.is_dir() and not given:
        # Playwright's synchronous interface keeps an event loop running that asyncio.run in other tests cannot bear.
        worst = max(worst, _pytest([str(browser)]))
    return worst


def _pytest(words: Sequence[str]) -> int:
    return subprocess.call([sys.executable, "-m", "pytest", *words], cwd=ROOT)


def _from_here(words: Sequence[str]) -> list[str]:
    """pytest's arguments, with the paths among them made absolute: it runs at the root, whatever directory this is."""
    changed = []
    for before, word in zip(["", *words], words, strict=False):
        path, separator, test = word.partition("::")
        is_path = not word.startswith("-") and before not in ("-k", "-m", "-n", "-o", "-p") and Path(path).exists()
        changed.append(f"{Path(path).resolve()}{separator}{test}" if is_path else word)
    return changed


def _doctor(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.services.doctor import main as doctor

    return doctor(arguments)


def _release(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.grading.release import main as release

    return release(arguments)


def _grade(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv, extra=("celery",) if arguments.broker else ())
    from labsupport.grading.grade import main as grade

    return grade(arguments)


def _export(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.grading.export import main as export

    return export(arguments)


def _autograde(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv, wanted=programs.FOR_LESSONS if arguments.prove else ())
    from labsupport.grading.autograder import main as autograde

    return autograde(arguments)


def _grade_worker(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv, extra=("celery",), wanted=programs.FOR_LESSONS)
    from labsupport.grading.remote_worker import main as grade_worker

    return grade_worker(arguments)


def _up(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.services import up

    return up.up(arguments)


def _down(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.services import up

    return up.down(arguments)


def _progress(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.exercises.standing import main as progress

    return progress(arguments, ROOT / "lessons")


def _bench(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport import bench
    from labsupport.environment.installing import stop_signals_raise

    with stop_signals_raise():  # a benchmark removes its temporary files
        return bench.run(arguments.names, as_json=arguments.json, quick=arguments.quick, picture=arguments.picture)


def _fetch(arguments: argparse.Namespace) -> int:
    everything = _without_a_second_java(environment.extras())
    from labsupport.services import supplies

    if announcement := supplies.announcement(everything):
        print(announcement, file=sys.stderr)
    environment.enter(arguments.argv, extra=everything, wanted=programs.FOR_TESTS, insist=True)
    _fetch_jars()
    print("Everything that later lessons need is here.")
    return 0


def _without_a_second_java(extras: Iterable[str]) -> tuple[str, ...]:
    """The extras, without Java's wheel on a machine that has a Java on which all our systems run."""
    from labsupport.services import java

    return tuple(name for name in extras if name != "jre" or not java.here(java.SUGGESTED, java.SUGGESTED))


def _fetch_jars() -> None:
    from labsupport.services import jars, sources

    jars.fetch(*(system for system, pin in sources.PINS.items() if pin.java))


def _maelstrom(arguments: argparse.Namespace) -> int:
    environment.enter(arguments.argv)
    from labsupport.workloads.command import main as maelstrom

    return maelstrom(arguments.argv[arguments.argv.index("maelstrom") + 1 :])
