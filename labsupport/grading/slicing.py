"""What a cell needs of the other cells: the statements that bind the names which it uses, and what those need.

A lesson's cells start servers and draw pictures, an exercise needs a few imports and helpers of them. So only those
statements run when an exercise is graded.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dataclasses
import functools
import symtable
import warnings
from collections.abc import Iterator, Sequence

BUILTIN = frozenset(dir(builtins)) | {"get_ipython", "display", "__name__", "__file__", "__annotations__"}


@dataclasses.dataclass(frozen=True)
class Statement:
    """One top-level statement of a cell: its lines (from 1, both included), what it binds and which names it uses."""

    first: int
    last: int
    binds: frozenset[str]
    uses: frozenset[str]
    star: bool = False  # from ... import *
    again: bool = False  # changes what is bound already, as += does


@functools.lru_cache(maxsize=4096)
def statements(source: str) -> tuple[Statement, ...]:
    """The top-level statements of a cell; none if Python cannot read it."""
    try:
        with _quiet():
            return tuple(map(_statement, ast.parse(_plain(source)).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


@functools.lru_cache(maxsize=4096)
def form(source: str) -> str:
    """The source without comments and in one form; itself if Python cannot read it."""
    try:
        with _quiet():
            return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source


def slice_for(wanted: frozenset[str], sources: Sequence[str]) -> list[tuple[int, str]]:
    """What of `sources` has to run so that the wanted names are bound.

    Args:
        wanted: global names.
        sources: the cells, in their order; where several bind a name, the last one does it.

    Returns:
        Pairs of a cell's place and the text of it that has to run, line numbers kept; in the cells' order.
    """
    known = list(_all(sources))
    picked: set[tuple[int, Statement]] = {entry for entry in known if entry[1].star}
    missing = set(wanted).union(*(statement.uses for _, statement in picked)) - BUILTIN
    seen: set[str] = set()
    while missing - seen:
        name = min(missing - seen)
        seen.add(name)
        for entry in reversed(known):
            if name in entry[1].binds and not entry[1].again:
                picked.add(entry)
                missing |= entry[1].uses - BUILTIN
                break
    places = sorted({place for place, _ in picked})
    return [(place, _text(sources[place], [one for at, one in picked if at == place])) for place in places]


def used(source: str) -> frozenset[str]:
    """The global names that a cell takes from outside: used in it and not bound by it."""
    parts = statements(source)
    return frozenset().union(*(part.uses for part in parts)) - bound(source) - BUILTIN


def bound(source: str) -> frozenset[str]:
    """The global names that a cell binds."""
    return frozenset().union(*(part.binds for part in statements(source)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What Python warns of in a learner's code is for the learner, not for the one who grades."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _all(sources: Sequence[str]) -> Iterator[tuple[int, Statement]]:
    for place, source in enumerate(sources):
        for statement in statements(source):
            yield place, statement


def _plain(source: str) -> str:
    """The source as Python, with what only IPython understands (``%magic``, ``!command``) rewritten."""
    if not any(sign in source for sign in "%!?"):
        return source
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


def _statement(node: ast.stmt) -> Statement:
    decorators = getattr(node, "decorator_list", [])
    binds: set[str] = set()
    uses: set[str] = set()
    _collect(symtable.symtable(ast.unparse(node), "cell", "exec"), binds, uses)
    return Statement(
        first=min([node.lineno, *(decorator.lineno for decorator in decorators)]),
        last=node.end_lineno or node.lineno,
        binds=frozenset(binds),
        uses=frozenset(uses),
        star=isinstance(node, ast.ImportFrom) and node.names[0].name == "*",
        again=isinstance(node, ast.AugAssign),
    )


def _collect(table: symtable.SymbolTable, binds: set[str], uses: set[str]) -> None:
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if top or symbol.is_global():
            if symbol.is_referenced():
                uses.add(symbol.get_name())
            if symbol.is_assigned() or symbol.is_imported() or (top and symbol.is_namespace()):
                binds.add(symbol.get_name())
    for child in table.get_children():
        _collect(child, binds, uses)


def _text(source: str, chosen: Sequence[Statement]) -> str:
    """The lines of the chosen statements, each where it was, the others empty."""
    lines = _plain(source).split("\n")
    kept = {number for statement in chosen for number in range(statement.first, statement.last + 1)}
    return "\n".join(line if number in kept else "" for number, line in enumerate(lines, 1)).rstrip()
