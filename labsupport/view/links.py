"""The links between the nodes of a cluster as a map on which they are cut and mended, by dragging or by keyboard."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class LinkMap:
    """The widget; a plain one of ipywidgets has no way to drag from node to node.

    Args:
        nodes: their names.
        toggle: called with two names when the learner wants their link cut, or mended.
    """

    def __init__(self, nodes: Iterable[str], toggle: Callable[[str, str], None]) -> None:
        self.widget = _kind()(nodes=list(nodes))
        self.widget.on_msg(lambda _, content, __: toggle(*content["link"]))

    def show(self, cuts: Iterable[tuple[str, str]]) -> None:
        """Show which ways are cut, each from the first to the second node."""
        self.widget.cuts = sorted(map(list, cuts))

    def close(self) -> None:
        """Let nothing be changed any more."""
        self.widget.usable = False


@functools.cache
def _kind() -> type:
    """The widget's class; its libraries are there only where a notebook is."""
    import anywidget
    import traitlets

    class Links(anywidget.AnyWidget):
        _esm = Path(__file__).with_suffix(".js").read_text("utf-8")
        nodes: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
        cuts: Any = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
        usable: Any = traitlets.Bool(True).tag(sync=True)

    return Links
