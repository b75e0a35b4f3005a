"""A hash ring: where nodes and keys lie on it, which node keeps which key, and which keys move when nodes change."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from labsupport.view.cards import Card, Table

SIZE, MIDDLE, RADIUS = 320, 160, 118
# Colours of Okabe and Ito; each node also has its own mark, and its name in the table beside it.
LOOKS = (
    ("#0072B2", "M0-7L6 4L-6 4z"),
    ("#D55E00", "M-5-5H5V5H-5z"),
    ("#008060", "M0-7L7 0L0 7L-7 0z"),
    ("#B0568F", "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0z"),
    ("#7A6A00", "M-7-7L7 7M-7 7L7-7"),
    ("#767676", "M0 7L6-4L-6-4z"),
)


class HashRing(Card):
    """A ring, to be the last value of a cell.

    Args:
        nodes: the places of each node on the ring, as parts of the whole way round: 0 is at the top, 0.25 at the right.
            A node has as many as it has virtual nodes.
        keys: the place of each key. The next node clockwise keeps it.
        before: the places of the nodes before some came or went; the keys that have moved since are marked.

    >>> HashRing({"n1": [0.1, 0.6], "n2": [0.3]}, {"apple": 0.2, "pear": 0.7})  # doctest: +SKIP
    """

    def __init__(
        self,
        nodes: Mapping[str, Sequence[float]],
        keys: Mapping[str, float],
        before: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.nodes, self.keys = nodes, keys
        self.owners = _owners(nodes, keys)
        self.before = _owners(before, keys) if before is not None else self.owners
        self.moved = [key for key in keys if self.owners[key] != self.before[key]]
        names = [*nodes, *(name for name in before or () if name not in nodes)]
        self.looks = dict(zip(names, LOOKS * len(names), strict=False))

    @property
    def summary(self) -> str:
        """The ring in one sentence."""
        kept = Counter(self.owners.values())
        shares = ", ".join(f"{name} keeps {kept[name]:,}" for name in self.nodes)
        moves = f"; moved: {len(self.moved):,}" if self.before is not self.owners else ""
        return f"{len(self.keys):,} keys: {shares}{moves}."

    def table(self) -> Table:
        """How many keys each node keeps, got and gave away."""
        kept = Counter(self.owners.values())
        got, given = (Counter(map(owners.get, self.moved)) for owners in (self.owners, self.before))
        rows = [(name, str(kept[name]), str(got[name]), str(given[name])) for name in self.looks]
        return Table(self.summary, ("node", "keys", "got", "gave away"), rows)

    def text(self) -> str:
        moves = [f"  {key}: {self.before[key]} -> {self.owners[key]}" for key in self.moved]
        return "\n".join([self.table().text(), *moves])

    def html(self) -> str:
        legend = "".join(
            f'<li style="display:inline;margin-right:1em"><svg width="18" height="18" aria-hidden="true">'
            f"{_mark(9, 9, *look)}</svg> {escape(name)}</li>"
            for name, look in self.looks.items()
        )
        legend += "<li style='display:inline'>○ a key that has moved</li>" if self.moved else ""
        return f'{self.svg()}<ul style="list-style:none;padding:0;margin:0">{legend}</ul>{self.table().html()}'

    def svg(self) -> str:
        """The ring as a picture."""
        parts = [f'<circle cx="{MIDDLE}" cy="{MIDDLE}" r="{RADIUS}" stroke="currentColor" stroke-opacity=".4"/>']
        parts += [*self._arcs(), *self._keys()]
        parts += [
            f"<g><title>{escape(name)}</title>{_mark(*_spot(place), *self.looks[name])}</g>"
            for name, places in self.nodes.items()
            for place in places
        ]
        return (
            f'<svg viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}" role="img" fill="none" '
            f'aria-label="{escape(self.summary)}">{"".join(parts)}</svg>'
        )

    def _arcs(self) -> Iterator[str]:
        """What each node keeps: the way from the node before it."""
        ring = _ring(self.nodes)
        for (begin, _), (end, name) in zip([ring[-1], *ring], ring, strict=False):
            way = (end - begin) % 1 or 1.0
            (x1, y1), (x2, y2) = _spot(begin), _spot(begin + min(way, 0.9999))
            yield (
                f'<path d="M{x1:.1f} {y1:.1f}A{RADIUS} {RADIUS} 0 {int(way > 0.5)} 1 {x2:.1f} {y2:.1f}" '
                f'stroke="{self.looks[name][0]}" stroke-width="5" stroke-opacity=".75"/>'
            )

    def _keys(self) -> Iterator[str]:
        moved = set(self.moved)
        for key, place in self.keys.items():
            (x, y), colour = _spot(place, RADIUS - 22), self.looks[self.owners[key]][0]
            told = f"{self.before[key]} -> {self.owners[key]}" if key in moved else self.owners[key]
            ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" stroke="currentColor"/>' if key in moved else ""
            yield (
                f"<g><title>{escape(key)}: {escape(told)}</title>"
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>{ring}</g>'
            )


def _ring(nodes: Mapping[str, Sequence[float]]) -> list[tuple[float, str]]:
    return sorted((place % 1, name) for name, places in nodes.items() for place in places)


def _owners(nodes: Mapping[str, Sequence[float]], keys: Mapping[str, float]) -> dict[str, str]:
    ring = _ring(nodes)
    places = [place for place, _ in ring]
    return {key: ring[bisect.bisect_left(places, place % 1) % len(ring)][1] for key, place in keys.items()}


def _spot(place: float, radius: float = RADIUS) -> tuple[float, float]:
    turn = 2 * math.pi * place
    return MIDDLE + radius * math.sin(turn), MIDDLE - radius * math.cos(turn)


def _mark(x: float, y: float, colour: str, path: str) -> str:
    return (
        f'<path d="{path}" transform="translate({x:.1f} {y:.1f})" fill="{colour}" stroke="{colour}" stroke-width="2"/>'
    )
