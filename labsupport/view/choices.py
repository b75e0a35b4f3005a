"""A question with answers to choose from: buttons in a live notebook, a list in text and in exported pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any


class Choices:
    """Radio buttons that call `chosen(option)` when the learner picks one.

    The widget is made when it is first shown, so that nothing here needs a kernel.
    """

    def __init__(self, question: str, options: Sequence[str], chosen: Callable[[str], None]) -> None:
        self.question, self.options, self._chosen = question, tuple(options), chosen

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        try:
            import ipywidgets
        except ImportError:
            return self._still()
        buttons = ipywidgets.RadioButtons(options=self.options, index=None, layout={"width": "max-content"})
        buttons.observe(lambda change: self._chosen(change["new"]), names="value")
        prompt = ipywidgets.HTML(f"<b>Predict:</b> {escape(self.question)}")
        live = ipywidgets.VBox([prompt, buttons])._repr_mimebundle_(**kwargs)
        data = live[0] if isinstance(live, tuple) else live
        return {**data, **self._still()}

    def _still(self) -> dict[str, str]:
        items = "".join(f"<li>{escape(option)}</li>" for option in self.options)
        text = "\n".join([f"Predict: {self.question}", *(f"  ( ) {option}" for option in self.options)])
        return {
            "text/html": f"<p><b>Predict:</b> {escape(self.question)}</p><ul>{items}</ul>",
            "text/plain": text,
        }
