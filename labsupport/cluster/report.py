"""What is said about programs that do not keep to the protocol, and about nodes that have ended by themselves."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable, Sequence
from typing import Any

from labsupport.errors import LearnerError

SHOWN = 3  # problems of one kind and node that are told in full; the others are counted
LONGEST = 160  # characters of a line that are shown


class NodeCrashed(LearnerError):
    """A node has ended although nobody killed it.

    Attributes:
        node: its name.
        last: the last lines that it wrote.
    """

    def __init__(self, what: str, *, cause: str = "", do: str = "", node: str = "", last: Sequence[str] = ()) -> None:
        super().__init__(what, cause=cause, do=do)
        self.node, self.last = node, tuple(last)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.last])


class Problems:
    """What was not as it should be, in short texts."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], list[str]] = {}
        self._counted: dict[tuple[str, str], int] = {}

    def add(self, node: str, kind: str, text: str) -> None:
        """Tell of one more problem."""
        key = node, kind
        self._counted[key] = self._counted.get(key, 0) + 1
        told = self._told.setdefault(key, [])
        if len(told) < SHOWN:
            told.append(text)

    @property
    def texts(self) -> list[str]:
        """All problems; of many alike, the first ones and how many more there were."""
        found = []
        for key, told in list(self._told.items()):
            more = self._counted[key] - len(told)
            found += [*told, *([f"{key[0]}: {more} more of this kind ({key[1]})."] if more else [])]
        return found

    def stray(self, node: str, line: str) -> None:
        """A line on standard output that is no message."""
        why = "is no JSON" if not line.lstrip().startswith("{") else 'lacks "src", "dest" or "body", or is cut short'
        self.add(
            node,
            "stray line",
            f"{node} printed a line on standard output that is not a message, because it {why}: {_cut(line)!r}. "
            "Was it meant for standard error? Standard output carries one JSON object a line, and nothing else.",
        )

    def nameless(self, node: str, line: bytes) -> None:
        """A message without a sender."""
        text = _cut(line.decode(errors="replace"))
        self.add(node, "no src", f'{node} sent a message without "src"; it went out as its own: {text}')

    def nowhere(self, node: str, dest: Any, line: bytes, there: Iterable[str]) -> None:
        """A message to nobody."""
        near = difflib.get_close_matches(str(dest), sorted(there), n=1)
        guess = f" (was {near[0]} meant?)" if near else ""
        text = _cut(line.decode(errors="replace"))
        self.add(
            node, "unknown dest", f"{node} sent a message to {dest!r}, and there is nobody of that name{guess}: {text}"
        )

    def death(self, node: str, status: int, printed: Sequence[str], errors: Sequence[str], ready: bool) -> NodeCrashed:
        """A node has ended by itself."""
        how = f"with exit status {status}" if status >= 0 else f"by the signal {_signal(-status)}"
        when = "" if ready else ", before it answered init"
        what = f"{node} has ended by itself, {how}{when}."
        self.add(node, "crash", what + (f" Its last line: {_cut(errors[-1])}" if errors else ""))
        last = [f"  {line}" for line in errors] or ["  (nothing)"]
        shown = ["The last lines it wrote to standard error:", *last]
        if printed:
            shown += ["The last lines on standard output that were no messages:", *(f"  {line}" for line in printed)]
        return NodeCrashed(
            what,
            cause="an exception or an exit in its code; the lines below tell more",
            do="mend the program; a node serves until it is killed",
            node=node,
            last=shown,
        )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."
