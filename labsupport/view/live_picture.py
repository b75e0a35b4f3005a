"""A picture of something in a broker, drawn while it changes.

It is shown by its display id, not as a widget: the picture that was drawn last stays in the notebook and in its
exports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from labsupport.errors import LabError
from labsupport.view.cards import Card, Table

LOOK_S = 0.1
WIDTH = 720
MARK_ROWS = 4  # so that the words of marks do not stand on each other


class LivePicture(Card):
    """Looks at a broker ten times a second until it is closed, or the broker stops; subclasses keep and draw the looks.

    Args:
        broker: what is looked at.
        title: its name, and that of what in it is looked at.
        look: gives what is to be seen now; it raises while the broker has no answer.
    """

    def __init__(self, broker: Any, title: str, look: Callable[[], Any]) -> None:
        self.title = title
        self.marks: list[tuple[float, str]] = []
        self._began, self._shown = time.monotonic(), None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(broker, look), daemon=True)
        self._thread.start()

    # ---- watching

    def mark(self, what: str) -> None:
        """Draw a line with a word at this moment."""
        self.marks.append((time.monotonic() - self._began, what))

    def close(self) -> None:
        """Look no more; the picture stays as it is."""
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self, broker: Any, look: Callable[[], Any]) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(LOOK_S)
            try:
                seen = look()
            except Exception:  # a look raises what its broker's protocol raises; one that fails is left out
                ended = ended or _is_gone(broker)
            else:
                self._keep(time.monotonic() - self._began, seen, ended)
            if self._shown is not None:
                self._shown.update(self._bundle(ended), raw=True)

    def _keep(self, at_s: float, seen: Any, last: bool) -> None:
        """Take what was seen into the picture; `last`: nothing comes after it."""
        raise NotImplementedError

    # ---- the ways it shows itself

    @property
    def summary(self) -> str:
        """The picture in one sentence."""
        raise NotImplementedError

    def table(self) -> Table:
        """The picture in cells, with what was marked."""
        raise NotImplementedError

    def still(self) -> str:
        """What is drawn while it changes."""
        raise NotImplementedError

    def html(self) -> str:
        return f"{self.still()}<details><summary>The same as a table</summary>{self.table().html()}</details>"

    def _marked(self, scale_x: float, left: float, top: float, low: float) -> Iterator[str]:
        """A line for each mark, with its words beside the upper end."""
        for number, (at, what) in enumerate(self.marks):
            x = left + at * scale_x
            yield (
                f'<path d="M{x:.1f} {top:g}V{low:g}" stroke="currentColor" stroke-dasharray="3 3"/>'
                f'<text x="{x + 3:.1f}" y="{top + 10 + 12 * (number % MARK_ROWS):g}" fill="currentColor">'
                f"{escape(what)}</text>"
            )

    def _drawing(self, parts: list[str], height: float) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" role="img" '
            f'aria-label="{escape(self.summary)}" font-family="system-ui,sans-serif" font-size="11" fill="none" '
            f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
        )

    def _bundle(self, ended: bool) -> dict[str, str]:
        # A table that opens would be closed ten times a second: it comes when the picture has ended.
        return {"text/html": self.page() if ended else self.still(), "text/plain": self.text()}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self._shown = display(self._bundle(self._ended.is_set()), raw=True, display_id=True)


def _is_gone(broker: Any) -> bool:
    try:
        return not broker.nodes
    except LabError:
        return True
