"""The process in which a learner's code runs, away from the check that watches it.

Run as ``python -m labsupport.exercises.host FD``. Standard input brings one JSON line, then the answer itself:

    {"driver": "module:function", "args": {…}, "takes": […], "path": […], "kind": "pickle" | "source", "name": …}

and FD takes what happens back, one JSON object a line:

    {"event": NAME, …}                                              what the driver tells
    {"result": VALUE}                                               the driver returned
    {"failed": KIND, "message": …, "frames": [[file, line, function, text], …]}   an exception ended or spoiled it
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import linecache
import os
import sys
import sysconfig
import threading
import traceback
import types
from typing import Any

from labsupport.messages import KNOWN

MAX_FRAMES = 12  # deep recursions say nothing more after that


class Tell:
    """What a driver calls to send one event to the check; safe from any thread."""

    def __init__(self, fd: int) -> None:
        self._stream = os.fdopen(fd, "w", encoding="utf-8")
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: Any) -> None:
        self.send({"event": event, **fields})

    def failed(self, error: BaseException) -> None:
        """Report an exception of the learner's code that a framework would have swallowed."""
        self.send({"failed": type(error).__name__, "message": str(error), "frames": learner_frames(error)})

    def send(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, default=repr)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def learner_frames(error: BaseException) -> list[list[Any]]:
    """The learner's frames of an exception's traceback."""
    return theirs(traceback.extract_tb(error.__traceback__))


def theirs(frames: traceback.StackSummary) -> list[list[Any]]:
    """Those of the frames that are the learner's: neither ours nor a library's."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    foreign = (ours, *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}, "<frozen")
    return [
        [frame.filename, frame.lineno, frame.name, frame.line or ""]
        for frame in frames
        if not frame.filename.startswith(foreign)
    ][-MAX_FRAMES:]


def load(kind: str, data: bytes, name: str, takes: list[str]) -> types.SimpleNamespace:
    """The learner's objects by the names that the exercise gives them."""
    if kind == "pickle":
        import cloudpickle

        objects, messages = cloudpickle.loads(data)
        KNOWN.update(messages)
        return types.SimpleNamespace(**dict(zip(takes, objects, strict=True)))
    source = data.decode()
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    module = types.ModuleType("__main__")
    module.__file__ = name
    sys.modules["__main__"] = module
    exec(compile(source, name, "exec"), module.__dict__)
    missing = [wanted for wanted in takes if wanted not in module.__dict__]
    if missing:
        raise NameError(f"the answer does not define {', '.join(missing)}")
    return types.SimpleNamespace(**{wanted: module.__dict__[wanted] for wanted in takes})


def main(report: int) -> int:
    """Do what standard input orders and tell it on the descriptor `report`; the exit status."""
    tell = Tell(report)
    order = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    sys.path[:0] = [entry for entry in order["path"] if entry not in sys.path]
    try:
        module, _, function = order["driver"].partition(":")
        driver = getattr(importlib.import_module(module), function)
        given = load(order["kind"], data, order["name"], order["takes"])
        value = driver(given, tell, **order["args"])
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        tell.send({"result": value})
    except BaseException as error:  # the learner's code may raise anything, and the check must hear of all of it
        tell.failed(error)
        return 1
    return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that the learner's code left running must not keep the process
