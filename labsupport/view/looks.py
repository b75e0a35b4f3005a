"""How a picture tells several things apart, for eyes that see no colours too: each has a mark of its own and a name."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

Look = tuple[str, str]  # a colour and a mark
# The colours are those of Okabe and Ito.
LOOKS: tuple[Look, ...] = (
    ("#0072B2", "M0-7L6 4L-6 4z"),
    ("#D55E00", "M-5-5H5V5H-5z"),
    ("#008060", "M0-7L7 0L0 7L-7 0z"),
    ("#B0568F", "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0z"),
    ("#7A6A00", "M-7-7L7 7M-7 7L7-7"),
    ("#767676", "M0 7L6-4L-6-4z"),
)


def mark(x: float, y: float, colour: str, path: str) -> str:
    """A mark as a part of an SVG picture."""
    return (
        f'<path d="{path}" transform="translate({x:.1f} {y:.1f})" fill="{colour}" stroke="{colour}" stroke-width="2"/>'
    )


def legend(looks: Mapping[str, Look], *more: str) -> str:
    """The names with their marks, and what else is to be said."""
    named = [
        f'<svg width="18" height="18" aria-hidden="true">{mark(9, 9, *look)}</svg> {escape(name)}'
        for name, look in looks.items()
    ]
    items = "".join(f'<li style="display:inline-block;margin-right:1em">{item}</li>' for item in [*named, *more])
    return f'<ul style="list-style:none;padding:0;margin:0">{items}</ul>'
