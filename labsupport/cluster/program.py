"""What a cluster runs: a `Node` class, packed so that another Python can load it, or any program with its arguments."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import pathlib
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from labsupport import node as contract
from labsupport.errors import LearnerError, SetupError
from labsupport.messages import KNOWN, Message
from labsupport.node import Node

ROOT = pathlib.Path(__file__).resolve().parents[2]  # where `import labsupport` works


class Program:
    """How the nodes of a cluster are started.

    Args:
        given: a `Node` class, or a program: a path, or a list of a path and its arguments.

    Raises:
        LearnerError: it is neither, or the class cannot leave this process.
        SetupError: there is no such program.
    """

    def __init__(self, given: Any) -> None:
        self.kind: type[Node] | None = None
        self.packed = b""
        if isinstance(given, type):
            contract.handlers_of(given)
            self.kind, self.packed = given, pack(given)
            self.command: list[str] = []
        else:
            self.command = _command(given)
        self.name = given.__name__ if self.kind else " ".join(self.command)

    @property
    def ours(self) -> bool:
        """Whether it is a `Node` class, whose process knows more than the protocol."""
        return self.kind is not None

    def write(self, directory: pathlib.Path) -> None:
        """Put into a directory what the processes will read from it."""
        if self.packed:
            (directory / "class").write_bytes(self.packed)

    def argv(self, directory: pathlib.Path, *, seed: int, life: int, origin_s: float, traced: bool) -> list[str]:
        """The command line of one node that works in a directory beside what `write` has put there."""
        if not self.ours:
            return self.command
        argv = [sys.executable, "-m", "labsupport.cluster.run", str(directory.parent / "class"), "--packed"]
        argv += ["--disk", str(directory), f"--seed={seed}", f"--life={life}", f"--origin={origin_s}"]
        return [*argv, "--traced"] if traced else argv

    def environment(self) -> dict[str, str]:
        """What the processes find in their environment: ours, and for a class the way to this package."""
        if not self.ours:
            return dict(os.environ)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return {**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}


def _command(given: Any) -> list[str]:
    words = [given] if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(words, Sequence) or not words or not all(isinstance(w, (str, os.PathLike)) for w in words):
        raise LearnerError(
            f"A cluster cannot run {given!r}.",
            do='give a Node class, the path of a program, or a list such as ["python3", "node.py"]',
        )
    program, *arguments = map(os.fspath, words)
    found = shutil.which(program)
    if found is None:
        there = os.path.exists(program)
        raise SetupError(
            f"The program {program} cannot be started.",
            cause="the file is not marked as executable" if there else "there is no such file, here or on PATH",
            do=f"chmod +x {program}" if there else "give the path of an executable program",
        )
    # Each node works in a directory of its own, so names of files here would lead nowhere there.
    return [os.path.abspath(found), *(os.path.abspath(word) if os.path.isfile(word) else word for word in arguments)]


# ------------------------------------------------------------------------------------------------ packing


def pack(kind: type[Node]) -> bytes:
    """A class with its messages, by value where they were defined in a notebook or beside the class.

    Raises:
        LearnerError: the class uses something that cannot leave this process.
    """
    import cloudpickle

    modules = _own_modules(kind)
    names = {module.__name__ for module in modules} | {"__main__"}
    heard = contract.handlers_of(kind)
    messages = {wire: made for wire, made in KNOWN.items() if made.__module__ in names or wire in heard}
    for module in reversed(modules):  # its own go before those of other modules that have the same name
        messages |= {made.wire_type: made for made in vars(module).values() if _is_message(made)}
    messages = {wire: made for wire, made in messages.items() if not _is_our_own(made)}
    written = io.BytesIO()
    pickle.dump([entry or os.getcwd() for entry in sys.path], written)
    pickle.dump(_sources([kind, *messages.values()]), written)
    try:
        with _by_value(modules, cloudpickle):
            cloudpickle.dump((kind, messages), written)
    except Exception as error:  # pickling runs arbitrary __reduce__ methods
        raise LearnerError(
            f"{kind.__name__} cannot be sent to another process: {error}",
            cause="the class uses something that lives in this process, such as an open connection or a lock",
            do="make it in on_start, or leave it out: a node reaches the world through ctx only",
        ) from error
    return written.getvalue()


def _own_modules(kind: type[Node]) -> list[ModuleType]:
    """The modules, other than the running script, in which a class and its bases are defined."""
    names = dict.fromkeys(base.__module__ for base in kind.__mro__ if base not in (Node, object))
    ours = [name for name in names if name != "__main__" and not name.startswith("labsupport.")]
    return [sys.modules[name] for name in ours if name in sys.modules]


def _is_message(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Message) and thing is not Message


def _is_our_own(made: type[Message]) -> bool:
    """Whether every Python that imports this package has the class."""
    return getattr(sys.modules.get(made.__module__), made.__name__, None) is made and made.__module__.startswith(
        "labsupport."
    )


@contextlib.contextmanager
def _by_value(modules: list[ModuleType], cloudpickle: ModuleType) -> Iterator[None]:
    before = cloudpickle.list_registry_pickle_by_value()
    ours = [module for module in modules if module.__name__ not in before]
    for module in ours:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in ours:
            cloudpickle.unregister_pickle_by_value(module)


def _sources(kinds: list[type]) -> dict[str, list[str]]:
    """The lines of files that only this process knows (cells of a notebook), for tracebacks."""
    functions: list[Callable] = [value for kind in kinds for value in vars(kind).values() if hasattr(value, "__code__")]
    files = {function.__code__.co_filename for function in functions}
    return {file: lines for file in files if not os.path.exists(file) and (lines := linecache.getlines(file))}
