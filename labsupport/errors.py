"""The errors of the course: each says what happened, the likely cause, and what to do.

    LabError
    ├── LearnerError    your turn: something in the code of a notebook cell
    ├── SetupError      the machine's turn: a program, a package, a port or disk space is missing
    ├── ServiceError    a broker's or store's turn: it died, froze, refused or never became ready
    └── LabBug          our turn: the course itself is wrong, please report it

In a notebook the three lines are shown alone; the Python traceback stays reachable with ``%tb``.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator


class LabError(Exception):
    """What happened, the likely cause and what to do, in that order.

    Args:
        what: one sentence, what happened, with the names and numbers at hand.
        cause: the likely cause, or "" when the first sentence already is one.
        do: what the reader can do next, as one imperative sentence or command line.
    """

    title = "Error"

    def __init__(self, what: str, *, cause: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what, self.cause, self.do = what, cause, do

    def __str__(self) -> str:
        lines = [self.what]
        if self.cause:
            lines.append(f"Likely cause: {self.cause}")
        if self.do:
            lines.append(f"What to do: {self.do}")
        return "\n".join(lines)

    def __reduce__(self):
        return _rebuild, (type(self), self.args[0], self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: the lines to show instead of a traceback."""
        return [f"{self.title}: {self}"]


def _rebuild(kind: type[LabError], what: str, state: dict) -> LabError:
    error = kind.__new__(kind)
    Exception.__init__(error, what)
    error.__dict__.update(state)
    return error


class LearnerError(LabError):
    """Something in the code of a notebook cell has to change."""

    title = "Your turn"


class SetupError(LabError):
    """Something is missing on this machine: a program, a package, a port, disk space."""

    title = "Set-up"


class ServiceError(LabError):
    """A broker or store did not do what was asked.

    Args:
        definite: True, it surely did not happen; False, it may have happened; None, the question does not arise.
            (The words are those of Maelstrom's error table, https://github.com/jepsen-io/maelstrom, doc/protocol.md.)
    """

    title = "Service"

    def __init__(self, what: str, *, cause: str = "", do: str = "", definite: bool | None = None) -> None:
        super().__init__(what, cause=cause, do=do)
        self.definite = definite


class LabBug(LabError):
    """The course contradicts itself; this is never the learner's fault."""

    title = "A bug of the course"


@contextlib.contextmanager
def disk_errors_explained(doing: str, where: object) -> Iterator[None]:
    """Turn an operating system error of a full, read-only or forbidden disk into a `SetupError`; pass others on.

    Args:
        doing: what was being done, as a phrase that completes "while ...".
        where: the file or directory concerned.
    """
    try:
        yield
    except OSError as error:
        explained = {
            errno.ENOSPC: ("the disk is full", "free some space there, or set TMPDIR to a directory with room"),
            errno.EDQUOT: ("your disk quota is used up", "free some space, or set TMPDIR to a directory with room"),
            errno.EROFS: ("the file system is read-only", "set TMPDIR to a directory that can be written"),
            errno.EACCES: ("you may not write there", "set TMPDIR to a directory of your own"),
            errno.EPERM: ("you may not write there", "set TMPDIR to a directory of your own"),
        }.get(error.errno)
        if explained is None:
            raise
        cause, do = explained
        raise SetupError(f"{error.strerror} while {doing}: {where}", cause=cause, do=do) from error
