"""What is told when a handler raises an exception."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

from labsupport import node as contract
from labsupport.errors import LabError, LearnerError
from labsupport.sim.core import Core
from labsupport.sim.guard import unending
from labsupport.sim.properties import Violated
from labsupport.watchdog import Endless


class RunFailed(LearnerError):
    """A handler raised an exception, and that ended the run.

    Attributes:
        violated: what happened, as the search sees it.
        trace: the whole run.
    """

    title = "Your turn"

    def __init__(self, what: str, *, cause: str = "", do: str = "", last: Iterable[str] = ()) -> None:
        super().__init__(what, cause=cause, do=do)
        self.last = tuple(last)
        self.violated: Violated | None = None
        self.trace: Any = None

    def __str__(self) -> str:
        return "\n".join([super().__str__(), "The last events:", *("  " + line for line in self.last)])


def exception_violation(world: Core, error: Exception | Endless) -> Violated:
    """An exception of a handler as a violation; its name is stable, so that a shrinker can compare it."""
    frame = _learners_frame(world, error)
    if isinstance(error, Endless):
        error = unending(f" in {frame.name}, line {frame.lineno}: {(frame.line or '').strip()}" if frame else "")
    if not isinstance(error, LabError) and "asyncio" in _modules(error):
        error = contract.foreign_await(frame.name if frame else "A handler", "something of asyncio")
    where = f" in {frame.name}, line {frame.lineno}: {(frame.line or '').strip()}" if frame else ""
    if isinstance(error, LabError):
        return Violated(type(error).__name__, error.what, error)
    return Violated(f"{type(error).__name__} in {frame.name if frame else '?'}", f"{error!r}{where}", error)


def _learners_frame(world: Core, error: Exception) -> traceback.FrameSummary | None:
    files = {getattr(host.kind.on_start, "__code__", None) and _file_of(host.kind) for host in world.hosts.values()}
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename in files]
    return ours[-1] if ours else (frames[-1] if frames else None)


def _modules(error: Exception) -> set[str]:
    """The packages that an exception has come through."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return {frame.f_globals.get("__name__", "").split(".")[0] for frame in frames}


def _file_of(kind: type) -> str:
    for value in vars(kind).values():
        if hasattr(value, "__code__"):
            return value.__code__.co_filename
    return ""


def failure(world: Core, violated: Violated) -> RunFailed:
    """What to tell a learner whose handler has raised an exception."""
    node = world._acting.name if world._acting is not None else "a node"
    error = violated.error
    if isinstance(error, LabError):
        failed = RunFailed(error.what, cause=error.cause, do=error.do, last=world.trace.last())
    else:
        failed = RunFailed(
            f"{node} raised {violated.sentence}",
            cause="an exception in a handler ends the run: a real process would have died here",
            do=f"mend the handler; seed={world.seed} makes the same run again",
            last=world.trace.last(),
        )
    failed.violated, failed.trace = violated, world.trace
    failed.__cause__ = error
    return failed
