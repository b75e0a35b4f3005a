"""Keep systems running outside a notebook: ``python3 -m labsupport up nats etcd``, and ``... down`` to end it.

Whoever sets the variables that `up` prints gets these systems in every notebook, instead of new ones.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from labsupport.errors import LearnerError, ServiceError
from labsupport.services import guard, reaper, sources
from labsupport.services.base import Service, start_all

LOOK_S = 0.5  # how often the nodes are looked at
END_S = 60.0  # what an `up` may take to end


def systems() -> dict[str, str]:
    """What can be kept running: the name to type, and the system. A variable tells notebooks where it is."""
    return {system: pin.title for system, pin in sources.PINS.items() if pin.variable}


def up(arguments: argparse.Namespace) -> int:
    """Start the systems, print one line for each that a shell understands, and run until Ctrl-C or `down`."""
    names = [_system(name) for name in arguments.systems]
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: _end(ended, number, frame))
    with contextlib.ExitStack() as to_end:
        # By its name `down` finds us, and it goes when we do, however that may be.
        to_end.callback(reaper.discard, reaper.private_directory("up"))
        services = [_kind(name)(**({"nodes": arguments.nodes} if arguments.nodes else {})) for name in names]
        for service in services:
            to_end.callback(service.stop)
        with contextlib.suppress(KeyboardInterrupt):
            start_all(*services)
            for name, service in zip(names, services, strict=True):
                print(f"export {sources.PINS[name].variable}={shlex.quote(','.join(service.urls))}", flush=True)
            print("Running until Ctrl-C, or: python3 -m labsupport down", file=sys.stderr, flush=True)
            _watch(services)
    return 0


def down(arguments: argparse.Namespace) -> int:
    """End every `up` of this user on this machine, and wait until each is gone."""
    found = dict(_running())
    for pid in found:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    while left := [pid for pid, directory in found.items() if os.path.exists(directory)]:
        if time.monotonic() > deadline:
            raise ServiceError(
                f"What process {left[0]} keeps running has not ended within {END_S:g} s.",
                do=f"run: kill -9 {' '.join(map(str, left))}; all that it started ends with it",
            )
        time.sleep(0.02)
    print(f"Ended {len(found)}." if found else "Nothing was running.", file=sys.stderr)
    return 0


def _running() -> Iterator[tuple[int, str]]:
    """Process and directory of every `up`, from the names of the directories."""
    for path, parts in guard.directories_in(os.path.realpath(tempfile.gettempdir()), reaper.machine()):
        pid = int(parts["pid"])
        if os.path.basename(path)[parts.end() :].startswith("up-") and guard.start_time(pid) == int(parts["start"]):
            yield pid, path


def _end(ended: threading.Event, number: int, frame: FrameType | None) -> None:
    if not ended.is_set():  # a second signal does not disturb the stopping
        ended.set()
        raise KeyboardInterrupt


def _watch(services: Sequence[Service]) -> NoReturn:
    """Tell of each node that ends by itself."""
    told: set[str] = set()
    while True:
        for node in (node for service in services for node in service.nodes):
            if node.state == "stopped" and node.name not in told:
                told.add(node.name)
                print(f"{node.name} {node.what_happened()[0]}", file=sys.stderr, flush=True)
        time.sleep(LOOK_S)


def _system(name: str) -> str:
    for system, title in systems().items():
        if name.lower() in (system, title.lower()):
            return system
    raise LearnerError(f"There is no system {name!r}.", do=f"choose from {', '.join(systems())}")


def _kind(system: str) -> type[Service]:
    from labsupport.services.doctor import _class_of

    return _class_of(system)
