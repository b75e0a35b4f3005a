"""What a search has found: the sentence, and the run that proves it as a diagram."""

from __future__ import annotations

from html import escape
from typing import Any

from labsupport.view.cards import Card
from labsupport.view.spacetime_picture import SpaceTime


class Explored(Card):
    """A `labsupport.search.Exploration` or `Finding` as a card.

    Args:
        explored: the one or the other; it says everything in its text form.
    """

    def __init__(self, explored: Any) -> None:
        self.explored = explored
        self.finding = getattr(explored, "finding", explored if hasattr(explored, "broken") else None)
        self.accent = "#0072B2" if explored and self.finding is None else "#D55E00"

    def html(self) -> str:
        if self.finding is None:
            return f"<p>{escape(self.text())}</p>"
        found = self.finding
        length = f"{len(found.steps)} steps" if found.steps else "a whole run, which depends on times"
        tried = "" if found is self.explored else self.text().splitlines()[-1]
        return (
            f'<p><b class="lab-tag"><span aria-hidden="true">✗</span> {escape(found.broken)}</b></p>'
            f"<p>{escape(found.sentence)}</p><p>Seed {found.seed}, {found.nodes} nodes, {length}. {escape(tried)}</p>"
        )

    def text(self) -> str:
        return str(self.explored)

    def page(self) -> str:
        if self.finding is None:
            return super().page()
        return super().page() + SpaceTime(self.finding.trace, self.text()).html()
