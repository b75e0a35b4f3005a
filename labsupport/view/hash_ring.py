"""A hash ring: where nodes and keys lie on it, which node keeps which key, and which keys move when nodes change."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from labsupport.view.cards import Card, Table
from labsupport.view.looks import LOOKS, legend, mark

SIZE, MIDDLE, RADIUS = 320, 160, 118


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
        moved = ["○ a key that has moved"] if self.moved else []
        return f"{self.svg()}{legend(self.looks, *moved)}{self.table().html()}{self._moves()}"

    def _moves(self) -> str:
        """Which keys have moved, for those who cannot point at them in the picture."""
        rows = [(key, self.before[key], self.owners[key]) for key in self.moved]
        table = Table("", ("key", "from", "to"), rows).html()
        return f"<details><summary>The keys that have moved</summary>{table}</details>" if rows else ""

    def svg(self) -> str:
        """The ring as a picture."""
        parts = [f'<circle cx="{MIDDLE}" cy="{MIDDLE}" r="{RADIUS}" stroke="currentColor" stroke-opacity=".4"/>']
        parts += [*self._arcs(), *self._keys()]
        parts += [
            f"<g><title>{escape(name)}</title>{mark(*_spot(place), *self.looks[name])}</g>"
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
