"""What ``--bin`` names: an executable, a Python script, or a `Node` class of ours."""

from __future__ import annotations

import ast
import os
import pathlib
import sys
from collections.abc import Sequence

from labsupport.cluster.run import load
from labsupport.errors import LearnerError
from labsupport.node import Node


def program(named: str, arguments: Sequence[str] = ()) -> type[Node] | list[str]:
    """The class or the command line to give to a cluster.

    Args:
        named: the path of a program; ``module:Class``; ``file.py:Class``; or a ``file.py`` with one Node class in it.
        arguments: for a program.

    Raises:
        LearnerError: there is no such class, or which one is meant is not clear.
    """
    path = pathlib.Path(named)
    is_script = path.suffix == ".py" and path.is_file() and not os.access(path, os.X_OK)
    if is_script and (classes := node_classes(path)):
        if len(classes) > 1:
            raise LearnerError(
                f"{named} defines several Node classes: {', '.join(classes)}.", do=f"write {named}:{classes[-1]}"
            )
        named = f"{named}:{classes[0]}"
    elif is_script:
        return [sys.executable, named, *arguments]
    elif ":" not in named or path.exists():
        return [named, *arguments]
    kind = load(named)
    if not (isinstance(kind, type) and issubclass(kind, Node)):
        raise LearnerError(f"{named} is no Node class.", do="name a class that is built on labsupport.Node")
    if arguments:
        raise LearnerError(f"{named} is a class and takes no arguments.", do=f"leave out {' '.join(arguments)}")
    return kind


def node_classes(path: pathlib.Path) -> list[str]:
    """The names of the Node classes that a file defines, without those that others are built on.

    Raises:
        LearnerError: the file is not Python.
    """
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except SyntaxError as error:
        raise LearnerError(f"{path} is not Python: {error}.", do="mend it, or mark it as executable") from error
    bases = {
        statement.name: [ast.unparse(base).rpartition(".")[2] for base in statement.bases]
        for statement in tree.body
        if isinstance(statement, ast.ClassDef)
    }

    def is_node(name: str) -> bool:
        return name == "Node" or any(map(is_node, bases.get(name, ())))

    imported = "labsupport" in {
        name.split(".")[0]
        for statement in ast.walk(tree)
        for name in (
            [alias.name for alias in statement.names] if isinstance(statement, ast.Import)
            else [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
        )
    }  # fmt: skip
    built_on = {base for names in bases.values() for base in names}
    return [name for name in bases if is_node(name) and name not in built_on] if imported else []
