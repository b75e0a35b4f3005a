"""The result of a check, a hint and a small table, each as HTML and as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from labsupport.history import Outcome, Verdict
from labsupport.view.spacetime_picture import SpaceTime

VERDICT_MIME = "application/vnd.labsupport.verdict+json"

# Colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), which the colour-blind can tell apart; a symbol and a
# word always say the same.
_LOOK = {
    Outcome.PASS: ("#0072B2", "✓", "PASS"),
    Outcome.FAIL: ("#D55E00", "✗", "FAIL"),
    Outcome.UNKNOWN: ("#7A6A00", "?", "UNKNOWN"),
    Outcome.NOT_STARTED: ("#6E6E6E", "○", "NOT STARTED"),
}

CSS = """<style>
.lab-card{font:14px/1.45 system-ui,sans-serif;border-left:5px solid var(--lab-accent);padding:4px 12px;margin:6px 0;
 color:var(--jp-ui-font-color1,inherit);background:var(--jp-layout-color1,transparent)}
.lab-card p,.lab-card table{max-width:60em}.lab-card p{margin:4px 0}.lab-card b.lab-tag{color:inherit;
 color:color-mix(in srgb,var(--lab-accent) 55%,currentColor)}
.lab-card details pre{margin:4px 0;white-space:pre;word-break:normal;overflow-wrap:normal;overflow-x:auto;
 font-size:12px;background:none;color:inherit}
.lab-card summary{cursor:pointer}.lab-card summary:focus-visible,.lab-card pre:focus-visible{outline:3px solid #0072B2}
.lab-card table{border-collapse:collapse;margin:4px 0}
.lab-card table th,.lab-card table td{text-align:left!important;vertical-align:top;padding:2px 14px 2px 0;
 background:none}
</style>"""

_PRE = '<pre tabindex="0">'  # long lines are not broken, or drawings would fall apart; the keyboard can scroll them


class Card:
    """Something shown in a notebook: subclasses give `html` and `text`."""

    accent = "#0072B2"

    def html(self) -> str:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError

    def page(self) -> str:
        """The card as a part of a page."""
        return (
            f'{CSS}<section class="lab-card" style="--lab-accent:{self.accent}" role="status">{self.html()}</section>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/html": self.page(), "text/plain": self.text()}

    def __repr__(self) -> str:
        return self.text()


class VerdictCard(Card):
    """A verdict, with what is known about the mistake and how to go on; true when it passed.

    Args:
        verdict: the verdict; also found in the output's `VERDICT_MIME` entry, which is what programs should read.
        title: the exercise's title.
        misconception: the sentence about the mistake, "" when it is not a known one.
        next_hint: the call that shows the next hint, "" when none is due.
    """

    def __init__(self, verdict: Verdict, *, title: str = "", misconception: str = "", next_hint: str = "") -> None:
        self.verdict, self.title = verdict, title
        self.misconception, self.next_hint = misconception, next_hint
        self.accent, self._symbol, self._word = _LOOK[verdict.outcome]

    def __bool__(self) -> bool:
        return bool(self.verdict)

    @property
    def headline(self) -> str:
        return " ".join(filter(None, [self._word, self.verdict.exercise, self.title and f"· {self.title}"]))

    def _lines(self) -> list[tuple[str, str]]:
        """Label and text of each line under the headline, both forms show the same."""
        verdict = self.verdict
        name = verdict.misconception.replace("_", " ")
        lines = [("", verdict.summary)]
        if verdict.expected or verdict.got:
            lines += [("expected", verdict.expected), ("got", verdict.got)]
        if name:
            lines.append((name, self.misconception))
        if self.next_hint:
            lines += [("hint", self.next_hint), ("replay", verdict.replay)]
        if verdict.again:
            lines.append(("see it again", verdict.again))
        return lines

    def html(self) -> str:
        parts = [
            f'<p><b class="lab-tag"><span aria-hidden="true">{self._symbol}</span> {escape(self.headline)}</b></p>'
        ]
        for label, text in self._lines():
            code = label in ("hint", "replay", "see it again")
            shown = f"<code>{escape(text)}</code>" if code else escape(text).replace("\n", "<br>")
            parts.append(f"<p>{f'<b>{escape(label)}:</b> ' if label else ''}{shown}</p>")
        if self.verdict.evidence and self.verdict.trace is None:
            lines = escape("\n".join(self.verdict.evidence))
            parts.append(f"<details open><summary>What happened, in order</summary>{_PRE}{lines}</pre></details>")
        if self.verdict.printed.strip():
            printed = escape(self.verdict.printed.strip())
            parts.append(f"<details><summary>What your code printed</summary>{_PRE}{printed}</pre></details>")
        return "".join(parts)

    def text(self) -> str:
        lines = [self.headline]
        for label, text in self._lines():
            lines.append(f"  {label + ': ' if label else ''}{text}".replace("\n", "\n  "))
        if self.verdict.evidence:
            lines += ["  what happened, in order:", *(f"    {event}" for event in self.verdict.evidence)]
        if self.verdict.printed.strip():
            lines += ["  your code printed:", *(f"    {line}" for line in self.verdict.printed.strip().splitlines())]
        return "\n".join(lines)

    def page(self, live: bool = True) -> str:
        """The card, and beside it the run that proves the verdict; still where scripts are not wanted."""
        if self.verdict.trace is None:
            return super().page()
        # Not in the card: that is read out when it comes, and a picture should not be.
        picture = SpaceTime(self.verdict.trace, "\n".join(self.verdict.evidence)).html(live)
        return f'{super().page()}<div class="lab-card" style="--lab-accent:{self.accent}">{picture}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return super()._repr_mimebundle_() | {VERDICT_MIME: self.verdict.as_json()}


class HintCard(Card):
    """The hints to an exercise up to one rung, the newest last."""

    accent = "#7A6A00"

    def __init__(self, exercise: str, rung: int, hints: Sequence[str]) -> None:
        self.exercise, self.rung, self.hints = exercise, rung, tuple(hints)

    def html(self) -> str:
        rows = "".join(f"<p><b>Hint {number} of 3:</b> {escape(text)}</p>" for number, text in enumerate(self.hints, 1))
        return f'<p><b class="lab-tag">Hints to {escape(self.exercise)}</b></p>{rows}'

    def text(self) -> str:
        return "\n".join(f"Hint {number} of 3 to {self.exercise}: {text}" for number, text in enumerate(self.hints, 1))


class Table(Card):
    """A small table with a caption."""

    def __init__(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.caption, self.header = caption, tuple(header)
        self.rows = [tuple(str(cell) for cell in row) for row in rows]

    def html(self) -> str:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        caption = f"<p><b>{escape(self.caption)}</b></p>" if self.caption else ""
        return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def text(self) -> str:
        rows = [self.header, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.header))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(filter(None, [self.caption, *lines]))
