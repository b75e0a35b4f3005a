"""A cluster with a row for each node and buttons to break and mend it, while cells wait or run.

The kernel's thread must not own a cluster: a button only puts a command on a queue, one thread of the panel obeys, and
another looks at the nodes a few times a second. So the buttons work while a cell awaits, and what they cause is seen
even while a cell blocks. A simulated world is the exception: it moves in the thread that moves it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from html import escape
from typing import Any

from labsupport.errors import LabError
from labsupport.view.cards import Table
from labsupport.view.links import LinkMap
from labsupport.view.systems import BETWEEN, LINK, Row, System, system_of

LOOK_S = 0.25
SIGNS = {"running": "● running", "paused": "‖ paused", "starting": "○ starting"}
COLUMNS = ("node", "state", "role", "details")
NOTES = 3  # the last deeds that are shown


class Panel:
    """The nodes of a `World`, a `Cluster` or a service, to be the last value of a cell.

    Args:
        cluster: what to show.

    >>> with Etcd(nodes=3) as etcd:     # doctest: +SKIP
    ...     display(Panel(etcd))
    """

    def __init__(self, cluster: Any) -> None:
        self.system: System = system_of(cluster)
        self.notes: list[str] = []
        self._orders: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._ended = threading.Event()
        self._live: _Live | None = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    # ---- what it shows

    def rows(self) -> list[Row]:
        """The nodes as they are now."""
        return self.system.rows()

    def table(self) -> Table:
        """The same without buttons."""
        cuts = ", ".join(f"{one} → {other}" for one, other in sorted(self.system.cuts)) if self.system.has_links else ""
        caption = self.system.title + (f"; cut: {cuts}" if cuts else "")
        return Table(caption, COLUMNS, [_texts(row) for row in self.rows()])

    # ---- what it does

    def order(self, deed: str, name: str = "") -> None:
        """What a button does: returns at once, and `notes` say what has come of it.

        Args:
            deed: "kill", "pause", "resume", "restart", "cut off" and a name; "cut or mend" and "n1 – n2"; "heal", and
                "run 1 s" of a world.
            name: the node, or the link.
        """
        if self.system.owned:
            self._start()
            self._orders.put((deed, name))
        else:
            self._obey(deed, name)
            self._look()

    def close(self) -> None:
        """Let go of the cluster: the buttons do nothing any more."""
        self._ended.set()
        self._orders.put(None)
        if self._live is not None:
            self._live.retire("This panel is closed.")

    def _start(self) -> None:
        with self._lock:  # which thread a button's callback runs in depends on the version of ipykernel
            if self._threads or self._ended.is_set():
                return
            self._threads = [threading.Thread(target=run, daemon=True) for run in (self._work, self._watch)]
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            self._obey(*order)

    def _obey(self, deed: str, name: str) -> None:
        what = f"{deed} {name}".strip()
        self._note(f"{what} ...")
        try:
            self.system.do(deed, name)
        except LabError as error:
            self.notes[-1] = f"{what}: {error}"
        except BaseException as error:  # a violated property ends a run and is no Exception; here it must be seen
            self.notes[-1] = f"{what}: {type(error).__name__}: {error}"
        else:
            self.notes[-1] = f"{what}: done"

    def _note(self, text: str) -> None:
        self.notes = [*self.notes[1 - NOTES :], text]

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            if self.system.gone:
                self.close()
                return
            with contextlib.suppress(LabError):  # stopped in the middle of a look
                self._look()

    def _look(self) -> None:
        if self._live is not None:
            self._live.show(self.rows(), self.notes)

    # ---- the ways it shows itself

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        still = self.table()._repr_mimebundle_()
        try:
            import ipywidgets
        except ImportError:
            return still
        if self._live is None and not self.system.gone:
            self._live = _Live(ipywidgets, self)
            self._look()
            self._start()
        if self._live is None:
            return still
        shown = self._live.box._repr_mimebundle_(**kwargs)
        return {**(shown[0] if isinstance(shown, tuple) else shown), **still}

    def __repr__(self) -> str:
        return self.table().text()


def _texts(row: Row) -> tuple[str, str, str, str]:
    return row.name, SIGNS.get(row.state, f"✗ {row.state}"), row.role, row.more


class _Live:
    """The widgets of a panel. Only what has changed goes to the browser."""

    def __init__(self, widgets: Any, panel: Panel) -> None:
        self._panel, self._widgets = panel, widgets
        self.title, self.notes, self.events = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._cells: dict[str, list[Any]] = {}
        self._buttons: dict[tuple[str, str], Any] = {}
        lines = [self._line(row) for row in panel.rows()]
        common = [self._button(deed, "") for deed in panel.system.everywhere]
        self.links = LinkMap(list(self._cells), self._link) if panel.system.has_links else None
        map_of_links = [self.links.widget] if self.links else []
        self.box = widgets.VBox([self.title, *lines, widgets.HBox(common), *map_of_links, self.notes, self.events])

    def _link(self, one: str, other: str) -> None:
        self._panel.order(LINK, BETWEEN.join((one, other)))

    def _line(self, row: Row) -> Any:
        widths = ("8em", "7em", "7em", "19em")
        self._cells[row.name] = [self._widgets.Label(layout={"width": width}) for width in widths]
        buttons = [self._button(deed, row.name) for deed in self._panel.system.deeds()]
        return self._widgets.HBox([*self._cells[row.name], *buttons], layout={"flex_flow": "row wrap"})

    def _button(self, deed: str, name: str) -> Any:
        words = f"{deed} {name}".strip().capitalize()
        button = self._widgets.Button(description=words, tooltip=words, layout={"width": "auto"})
        button.on_click(lambda _: self._panel.order(deed, name))
        self._buttons[deed, name] = button
        return button

    def show(self, rows: Sequence[Row], notes: Sequence[str]) -> None:
        system = self._panel.system
        self.title.value = f"<b>{escape(system.title)}</b>"
        self.notes.value = f'<div role="status">{"<br>".join(map(escape, notes))}</div>'
        lines = escape("\n".join(system.events()))
        self.events.value = f'<pre style="font-size:12px;line-height:1.4;margin:0">{lines}</pre>' if lines else ""
        for row in rows:
            for label, text in zip(self._cells[row.name], _texts(row), strict=True):
                label.value = text
            for deed in system.deeds():
                self._buttons[deed, row.name].disabled = not system.possible(deed, row)
        if self.links:
            self.links.show(system.cuts)

    def retire(self, why: str) -> None:
        if self.links:
            self.links.close()
        for button in self._buttons.values():
            button.disabled = True
        self.notes.value = f'<div role="status">{escape(why)}</div>'
