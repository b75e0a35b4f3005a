"""Deliver by hand: buttons for what can happen next and for the way back, with the run so far and the nodes' state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from labsupport.errors import LabError
from labsupport.view import states
from labsupport.view.cards import CSS
from labsupport.view.spacetime_picture import SpaceTime

# The rows of buttons: what they are about, and which kinds of steps they have.
GROUPS = (
    ("Deliver", lambda step: step.kind == "deliver" and not step.again),
    ("Let time pass", lambda step: step.kind in ("timer", "wake", "timeout")),
    ("Lose", lambda step: step.kind == "lose"),
    ("Deliver once more", lambda step: step.again),
    ("Crash, restart", lambda step: step.kind in ("crash", "restart")),
)
MOST = 12  # buttons of a group; `take` can do the others
# A wide picture scrolls, and begins at its right end, where the newest events are.
_STYLE = """<style>.lab-hand .lab-st-view{direction:rtl;text-align:left}.lab-hand svg{direction:ltr}
.widget-html-content:has(.lab-hand){min-width:0}</style>"""


class HandView:
    """A `labsupport.ByHand` as the last value of a cell.

    Args:
        hand: what is led by hand; it knows what can happen, and does it.
    """

    def __init__(self, hand: Any) -> None:
        self.hand = hand

    @property
    def status(self) -> str:
        """Where we are, and what happened last."""
        events = [event for event in self.hand.trace if event.kind != "save"]
        last = f"{events[-1].node} {events[-1].words}" if events else ""
        return f"Step {self.hand.place} of {self.hand.last}: {last}."

    def html(self) -> str:
        """The run so far, the logs and the variables of the nodes."""
        tables = [table.html() for table in (states.logs(self.hand.nodes), states.variables(self.hand.nodes)) if table]
        picture = SpaceTime(self.hand.trace).html(live=False)
        return f'{_STYLE}<div class="lab-hand">{picture}</div>{CSS}<div class="lab-card">{"".join(tables)}</div>'

    def text(self) -> str:
        tables = [table.text() for table in (states.logs(self.hand.nodes), states.variables(self.hand.nodes)) if table]
        return "\n\n".join([repr(self.hand), *tables])

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        choices = "".join(f"<li>{escape(choice.words)}</li>" for choice in self.hand.choices)
        page = f"<p>{escape(self.status)}</p>{self.html()}<p>What can happen next:</p><ol>{choices}</ol>"
        still = {"text/html": page, "text/plain": self.text()}
        try:
            import ipywidgets
        except ImportError:
            return still
        shown = _Live(ipywidgets, self).box._repr_mimebundle_(**kwargs)
        return {**(shown[0] if isinstance(shown, tuple) else shown), **still}


class _Live:
    """The widgets. A button stays where it is when its words change, so that the keyboard does not lose its place."""

    def __init__(self, widgets: Any, view: HandView) -> None:
        self._widgets, self._view, self._hand = widgets, view, view.hand
        self.back = self._button("Back", lambda: self._hand.back())
        self.forward = self._button("Forward", lambda: self._hand.forward())
        self.slider = widgets.IntSlider(description="Step", readout=False, max=0)
        self.slider.observe(self._slid, names="value")
        self.status, self.picture = widgets.HTML(), widgets.HTML(layout={"width": "100%"})
        self._pools: list[list[Any]] = [[] for _ in GROUPS]
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        self._rows = [widgets.Box(layout=wrap) for _ in GROUPS]
        self._names = [widgets.Label(f"{name}:") for name, _ in GROUPS]
        self._more = [widgets.Label() for _ in GROUPS]
        moves = widgets.HBox([self.back, self.forward, self.slider])
        # With a number here at first, the browser counts the places where the widgets are seen.
        self.box = widgets.VBox([moves, self.status, self.picture, *self._rows], _view_count=0)
        self.box.observe(self._seen, names="_view_count")
        self._hand.changed(self.show)
        self.show()

    def _seen(self, change: dict[str, Any]) -> None:
        """Follow the cluster only while the widgets are somewhere: a cell that runs again shows new ones."""
        if change["new"]:
            self._hand.changed(self.show)
            self.show()
        else:
            self._hand.forget(self.show)

    def _button(self, words: str, act: Callable[[], Any]) -> Any:
        button = self._widgets.Button(description=words, layout={"width": "auto", "max_width": "100%"})
        button.on_click(lambda _: self._do(act))
        return button

    def _slid(self, change: dict[str, Any]) -> None:
        if change["new"] != self._hand.place:  # else it was moved by `show`
            self._do(lambda: self._hand.go(change["new"]))

    def _do(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except LabError as error:  # nobody sees what a button raises
            self._say(str(error))

    def _say(self, text: str) -> None:
        self.status.value = f'<div role="status">{escape(text)}</div>'

    def show(self) -> None:
        """Show the step at which the cluster is now."""
        hand, choices = self._hand, self._hand.choices
        self.slider.max, self.slider.value = max(hand.last, hand.place), hand.place
        self.back.disabled, self.forward.disabled = hand.place == 0, hand.place == hand.last
        self._say(self._view.status)
        self.picture.value = self._view.html()
        for place, (_, wanted) in enumerate(GROUPS):
            self._fill(place, [choice for choice in choices if wanted(choice.step)])

    def _fill(self, place: int, choices: Sequence[Any]) -> None:
        row, pool = self._rows[place], self._pools[place]
        shown = choices[:MOST]
        while len(pool) < len(shown):
            pool.append(self._choosing(place, len(pool)))
        for button, choice in zip(pool, shown, strict=False):
            button.description = button.tooltip = choice.words[0].upper() + choice.words[1:]
        left = len(choices) - len(shown)
        self._more[place].value = f"and {left} more: `choices` has them, `take` does them" if left else ""
        row.children = [self._names[place], *pool[: len(shown)], self._more[place]] if shown else []

    def _choosing(self, place: int, number: int) -> Any:
        wanted = GROUPS[place][1]
        return self._button("", lambda: self._hand.take([c for c in self._hand.choices if wanted(c.step)][number]))
