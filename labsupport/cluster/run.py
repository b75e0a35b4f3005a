"""Run a `Node` class as a process that speaks the Maelstrom node protocol, in our `Cluster` or under Maelstrom itself.

    python -m labsupport.cluster.run broadcast:Gossip          # the class Gossip of the module broadcast.py
    python -m labsupport.cluster.run some/place/broadcast.py:Gossip

Messages come in on standard input and leave on standard output, one JSON object a line. What handlers print goes to
standard error, with the notes of the node, because standard output belongs to the messages.

Maelstrom wants one program and its arguments, and starts it in the system's temporary directory, so that names of files
must be whole and Python has to be told where this package is:

    PYTHONPATH=/path/to/this/repository ./maelstrom test -w broadcast --node-count 5 --time-limit 20 --rate 10 \\
        --bin "$(which python3)" -- -m labsupport.cluster.run /path/to/broadcast.py:Gossip

All its nodes share that directory, so what they save is kept in memory, unless ``--disk DIR`` names a place for it.
The program ends with status 0 when standard input ends, and with 1 and a report when a handler raises.

Source: https://github.com/jepsen-io/maelstrom, doc/protocol.md.
"""

from __future__ import annotations

import argparse
import importlib
import linecache
import os
import pathlib
import pickle
import sys
from collections.abc import Sequence

from labsupport.cluster.host import Host
from labsupport.errors import LabError, LearnerError
from labsupport.messages import KNOWN
from labsupport.node import Node


def serve(kind: type[Node], **options) -> int:
    """Let this process be one node of a class until standard input ends; the exit status.

    Args:
        kind: the class. A script of your own ends with ``sys.exit(serve(MyNode))``.
        options: see `labsupport.cluster.host.Host`.
    """
    fds = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a handler prints is no message
    sys.stdout.reconfigure(line_buffering=True)
    host = None
    try:
        host = Host(kind, fds, **options)
        status, report = host.run(), ""
        if status:
            report = host.report()
    except LabError as error:
        status, report = 1, str(error)
    sys.stdout.flush()
    print(report, end="\n" if report else "", file=sys.stderr, flush=True)
    return status


def load(named: str) -> type[Node]:
    """The class that ``module:Class`` or ``file.py:Class`` names.

    Raises:
        LearnerError: there is no such module, file or class.
    """
    where, _, name = named.rpartition(":")
    try:
        if where.endswith(".py"):
            path = pathlib.Path(where).resolve()
            sys.path.insert(0, str(path.parent))
            where = path.stem
            if not path.is_file():
                raise ImportError(f"there is no file {path}")
        elif "" not in sys.path:
            sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(where), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LearnerError(
            f"There is no class to run under {named!r}: {error}.",
            do="write module:Class or path/to/file.py:Class",
        ) from error


def unpack(path: pathlib.Path) -> type[Node]:
    """The class that `labsupport.cluster.program` has packed, with its messages and its source lines."""
    with path.open("rb") as file:
        sys.path += [entry for entry in pickle.load(file) if entry not in sys.path]
        for name, lines in pickle.load(file).items():
            linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
        kind, messages = pickle.load(file)
    KNOWN.update(messages)
    return kind


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m labsupport.cluster.run", description=__doc__.split("\n")[0])
    parser.add_argument("node", help="module:Class or path/to/file.py:Class")
    parser.add_argument("--disk", type=pathlib.Path, help="the directory in which it keeps what it saves")
    parser.add_argument("--seed", type=int, help="what its random numbers are drawn from")
    ours = parser.add_argument_group("what a Cluster adds")
    ours.add_argument("--packed", action="store_true", help="`node` is a file with a packed class")
    ours.add_argument("--life", type=int, default=0, help="how many times it was started before")
    ours.add_argument("--origin", type=float, default=0.0, help="the monotonic time that ctx.now() counts from")
    ours.add_argument("--traced", action="store_true", help="tell timers, saves and notes to the cluster")
    given = parser.parse_args(argv)
    try:
        kind = unpack(pathlib.Path(given.node)) if given.packed else load(given.node)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    options = {"life": given.life, "origin_s": given.origin, "traced": given.traced}
    return serve(kind, directory=given.disk, seed=given.seed, **options)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # threads that the learner's code left running must not keep the process
