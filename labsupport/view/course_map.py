"""The course as a map: every lesson with its exercises, what is done, what was tried, and where to go on."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from labsupport.view.cards import Card

SIGNS = {"done": "✓", "tried": "◐", "to do": "○"}
_STYLE = """<style>
.lab-map{list-style:none!important;margin:4px 0!important;padding:0!important;max-width:60em}
.lab-map>li{display:flex;flex-wrap:wrap;gap:2px 14px;border-top:1px solid rgba(128,128,128,.4);padding:3px 0;margin:0}
.lab-map>li>a{flex:0 0 19em}.lab-map ul{display:flex;flex:1 1 20em;flex-wrap:wrap;gap:2px 14px;margin:0!important;
 padding:0!important;list-style:none!important}.lab-map ul li{margin:0}.lab-map li.lab-next{font-weight:700}
</style>"""


class CourseMap(Card):
    """What `labsupport.exercises.standing.standing` has found."""

    def __init__(self, standing: Mapping[str, Any]) -> None:
        self.standing = standing

    @property
    def headline(self) -> str:
        return f"Your progress: {self.standing['done']} of {self.standing['of']} exercises"

    def html(self) -> str:
        rows = []
        for lesson in self.standing["lessons"]:
            exercises = "".join(self._exercise(one) for one in lesson["exercises"])
            name = escape(f"{lesson['lesson']} · {lesson['title']}")
            rows.append(
                f'<li><a href="{escape(lesson["notebook"])}">{name}</a> '
                f"<span>{lesson['done']} of {lesson['of']}</span><ul>{exercises}</ul></li>"
            )
        return f'{_STYLE}<p><b>{escape(self.headline)}</b></p><ul class="lab-map">{"".join(rows)}</ul>{self._legend()}'

    def _exercise(self, one: Mapping[str, Any]) -> str:
        here = ' class="lab-next"' if one["id"] == self.standing["next"] else ""
        words = escape(f"{one['id']} {one['title']}")
        return f'<li{here}><span role="img" aria-label="{one["state"]}">{SIGNS[one["state"]]}</span> {words}</li>'

    def _legend(self) -> str:
        following = f"Next: {self.standing['next']}. " if self.standing["next"] else "All is done. "
        return f"<p>{following}{', '.join(f'{sign} {state}' for state, sign in SIGNS.items())}</p>"

    def text(self) -> str:
        lines = [self.headline]
        for lesson in self.standing["lessons"]:
            lines.append(f"{lesson['lesson']} · {lesson['title']} ({lesson['done']} of {lesson['of']})")
            for one in lesson["exercises"]:
                following = "   <- next" if one["id"] == self.standing["next"] else ""
                lines.append(f"   {SIGNS[one['state']]} {one['id']} {one['title']}: {one['state']}{following}")
        return "\n".join(lines)
