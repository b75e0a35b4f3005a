"""The command ``python3 -m labsupport maelstrom run``: Maelstrom's options, our cluster, results and exit status."""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import re
import sys
from collections.abc import Callable, Sequence

from labsupport.checkers.transactions import FORBIDDEN
from labsupport.errors import LabError
from labsupport.faults import DISTRIBUTIONS, Link
from labsupport.workloads import WORKLOADS, Setting
from labsupport.workloads.results import EXIT, UNKNOWN, as_text
from labsupport.workloads.running import RECOVERY_S
from labsupport.workloads.strokes import FAULTS
from labsupport.workloads.topologies import TOPOLOGIES


def main(argv: Sequence[str]) -> int:
    """Run what follows ``maelstrom`` on the command line; the exit status, see `run`."""
    words = list(argv)
    cut = words.index("--") if "--" in words else len(words)
    return run(parser().parse_args(words[:cut]), words[cut + 1 :])


def parser() -> argparse.ArgumentParser:
    """What understands the words before ``--``."""
    made = argparse.ArgumentParser(
        prog="python3 -m labsupport maelstrom",
        description="Run programs that speak the Maelstrom protocol, or Node classes, against Maelstrom's workloads.",
    )
    commands = made.add_subparsers(dest="command", metavar="run", required=True)
    _add_options(commands.add_parser("run", aliases=["test"], help="run one workload (Maelstrom calls it test)"))
    return made


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "What follows -- is given to the program. Exit status: 0 valid, 1 invalid, 2 unknown."
    add = parser.add_argument
    add("-w", "--workload", default="lin-kv", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    add("--bin", required=True, metavar="PROGRAM", help="what each node runs: an executable, or a Node class of ours "
        "as module:Class or file.py:Class")  # fmt: skip
    add("--node-count", type=_number(int, 1), metavar="N", help="so many nodes, n0, n1 ...; else --nodes")
    add("--nodes", type=_words, default="n1,n2,n3,n4,n5", metavar="NAMES", help="the names of the nodes: n1,n2")
    add("--concurrency", type=_concurrency, metavar="N", help="so many clients; 2n: two for each node (default: 1n; "
        "for lin-kv 2n)")  # fmt: skip
    add("--rate", type=_number(float, 0), default=5.0, metavar="N", help="operations per second in all (default: 5)")
    add("--time-limit", type=_number(float, 0), default=60.0, metavar="S", help="seconds of work (default: 60)")
    add(
        "--latency", type=_number(float, 0), default=0.0, metavar="MS", help="mean delay between nodes, ms (default: 0)"
    )
    add("--latency-dist", choices=DISTRIBUTIONS, default="constant", help="how delays vary (default: constant)")
    add("--p-loss", type=_number(float, 0, 1), default=0.0, metavar="P", help="share of messages that are lost")
    add("--p-duplicate", type=_number(float, 0, 1), default=0.0, metavar="P", help="share that arrive twice")
    add("--topology", choices=TOPOLOGIES, default="grid", help="what broadcast's nodes are told (default: grid)")
    add("--nemesis", type=_faults, default=(), metavar="FAULTS", help=f"one or more of {','.join(FAULTS)}")
    add("--nemesis-interval", type=_number(float, 0.01), default=10.0, metavar="S", help="mean seconds between strokes")
    add("--recovery", type=_number(float, 0), default=RECOVERY_S, metavar="S", help="seconds of rest before the final "
        f"reads (default: {RECOVERY_S:g}, as Maelstrom's)")  # fmt: skip
    add("--availability", type=_availability, metavar="A", help="share of operations that must succeed, or total")
    add("--consistency-models", type=_models, default=("strict-serializable",), metavar="MODELS",
        help=f"for transactions, one or more of {', '.join(FORBIDDEN)} (default: strict-serializable)")  # fmt: skip
    add("--key-count", type=_number(int, 1), default=10, metavar="N", help="keys in use at a time")
    add("--max-txn-length", type=_number(int, 1), default=4, metavar="N", help="operations of a transaction at most")
    add("--max-writes-per-key", type=_number(int, 1), default=16, metavar="N", help="then a new key takes its place")
    add("--seed", type=int, metavar="N", help="what operations and faults are drawn from (default: drawn, and shown)")
    add("--log-stderr", action="store_true", help="show what the nodes wrote to standard error")
    add("--store", type=pathlib.Path, metavar="DIR", help="keep results, history and the nodes' logs there")
    add("--json", action="store_true", help="print one JSON document instead of text")


def _number(kind: Callable, least: float, most: float = float("inf")) -> Callable[[str], float]:
    def read(word: str) -> float:
        value = kind(word)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{word} is not from {least:g} to {most:g}")
        return value

    read.__name__ = "number"
    return read


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _one_of(table) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        for word in _words(text):
            if word not in table:
                raise argparse.ArgumentTypeError(f"{word!r} is not one of {', '.join(table)}")
        return _words(text)

    return read


_faults, _models = _one_of(FAULTS), _one_of(FORBIDDEN)


def _concurrency(word: str) -> Callable[[int], int]:
    """A function of the number of nodes: "10" is always ten, "2n" is twice the number."""
    found = re.fullmatch(r"([1-9]\d*)(n?)", word)
    if not found:
        raise argparse.ArgumentTypeError(f"{word!r} is neither a number such as 10 nor one for each node such as 2n")
    count = int(found[1])
    return lambda nodes: count * nodes if found[2] else count


def _availability(word: str) -> float:
    return 1.0 if word == "total" else _number(float, 0, 1)(word)


def run(given: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the workload that was asked for; the exit status: 0 valid, 1 invalid, 2 unknown or not to be done.

    Args:
        given: the options.
        arguments: for the node program.

    Raises:
        LabError: it cannot be done, and no JSON was asked for.
    """
    from labsupport.workloads.conduct import conduct
    from labsupport.workloads.programs import program

    link = Link(given.latency, given.latency_dist, least_ms=0.0, loss=given.p_loss, duplicate=given.p_duplicate)
    try:
        conducted = conduct(
            program(given.bin, arguments),
            given.workload,
            setting(given),
            rate=given.rate,
            time_limit_s=given.time_limit,
            link=link,
            nemesis=given.nemesis,
            nemesis_interval_s=given.nemesis_interval,
            availability=given.availability,
            recovery_s=given.recovery,
            tell=lambda words: print(words, file=sys.stderr, flush=True),
        )
        if given.store:
            conducted.keep(given.store)
    except LabError as error:
        if not given.json:
            raise
        print(json.dumps({"valid": UNKNOWN, "error": {"what": error.what, "cause": error.cause, "do": error.do}}))
        return EXIT[UNKNOWN]
    if given.log_stderr:
        for name, log in conducted.logs.items():
            print(*(f"{name}: {line}" for line in log.splitlines()), sep="\n", file=sys.stderr)
    text = json.dumps(conducted.results, indent=2) if given.json else as_text(conducted.results)
    print(text.encode("utf-8", "backslashreplace").decode())  # a node may have answered what UTF-8 cannot say
    return EXIT[conducted.valid]


def setting(given: argparse.Namespace) -> Setting:
    """What the options say about the workload."""
    nodes = tuple(f"n{number}" for number in range(given.node_count)) if given.node_count else given.nodes
    per_node = 2 if given.workload == "lin-kv" else 1
    return Setting(
        nodes=nodes,
        concurrency=given.concurrency(len(nodes)) if given.concurrency else per_node * len(nodes),
        seed=random.randrange(1_000_000) if given.seed is None else given.seed,
        topology=given.topology,
        key_count=given.key_count,
        max_txn_length=given.max_txn_length,
        max_writes_per_key=given.max_writes_per_key,
        consistency_models=given.consistency_models,
        latency_ms=given.latency,
    )
