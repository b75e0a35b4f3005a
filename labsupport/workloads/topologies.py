"""Who is whose neighbour: the topologies that broadcast's nodes are told. They are advice, no limit of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from labsupport.errors import LearnerError

Neighbours = dict[str, list[str]]


def grid(nodes: Sequence[str]) -> Neighbours:
    """A square, filled row by row.

    >>> grid(["a", "b", "c", "d", "e"])["b"]
    ['e', 'a', 'c']
    """
    side = math.ceil(math.sqrt(len(nodes)))
    found = {}
    for place, name in enumerate(nodes):
        row, column = divmod(place, side)
        around = [(row + 1, column), (row - 1, column), (row, column - 1), (row, column + 1)]
        inside = [i * side + j for i, j in around if i >= 0 and 0 <= j < side]
        found[name] = [nodes[other] for other in inside if other < len(nodes)]
    return found


def line(nodes: Sequence[str]) -> Neighbours:
    """One after the other."""
    return {
        name: [*nodes[max(place - 1, 0) : place], *nodes[place + 1 : place + 2]] for place, name in enumerate(nodes)
    }


def total(nodes: Sequence[str]) -> Neighbours:
    """Everybody is everybody's neighbour."""
    return {name: [other for other in nodes if other != name] for name in nodes}


def tree(nodes: Sequence[str], width: int) -> Neighbours:
    """A tree whose nodes have so many children, filled level by level.

    >>> tree(["a", "b", "c", "d"], 2)
    {'a': ['b', 'c'], 'b': ['a', 'd'], 'c': ['a'], 'd': ['b']}
    """
    found: Neighbours = {}
    for place, name in enumerate(nodes):
        parent = [nodes[(place - 1) // width]] if place else []
        found[name] = [*parent, *nodes[place * width + 1 : place * width + width + 1]]
    return found


TOPOLOGIES = {
    "grid": grid,
    "line": line,
    "total": total,
    "tree": lambda nodes: tree(nodes, 2),
    "tree2": lambda nodes: tree(nodes, 2),
    "tree3": lambda nodes: tree(nodes, 3),
    "tree4": lambda nodes: tree(nodes, 4),
}


def topology(name: str, nodes: Sequence[str]) -> Neighbours:
    """The neighbours of every node.

    Raises:
        LearnerError: there is no topology of that name.
    """
    if name not in TOPOLOGIES:
        raise LearnerError(f"There is no topology {name!r}.", do=f"choose one of {', '.join(TOPOLOGIES)}")
    return TOPOLOGIES[name](list(nodes))
