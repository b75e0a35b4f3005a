"""Values made comparable: two values are the same here exactly if they are the same in JSON."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

PLAIN = frozenset({int, str, type(None)})  # these are their own canonical form


def canonical(value: Any) -> Hashable:
    """A hashable stand-in that is equal for equal JSON values only.

    In Python ``1 == True == 1.0``, lists cannot be keys, and a tuple becomes a list on its way through JSON.

    >>> canonical(1) == canonical(True), canonical(1) == canonical(1.0), canonical([1, "a"]) == canonical((1, "a"))
    (False, False, True)
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, (list, tuple)):
        return ("list", *map(canonical, value))
    if isinstance(value, dict):
        return ("dict", *sorted((str(name), repr(canonical(part))) for name, part in value.items()))
    if isinstance(value, (set, frozenset)):
        return ("set", *sorted(map(repr, map(canonical, value))))
    return (type(value).__name__, repr(value))
