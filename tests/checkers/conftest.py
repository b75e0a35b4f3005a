"""What the tests of the checkers share: the reference, and a short way to write a history down."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

from labsupport.history import Ending, History, Operation


@pytest.fixture(scope="session")
def reference():
    """The module `reference.py` beside this file; pytest imports test files without their folder on the path."""
    path = pathlib.Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("checkers_reference", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def told():
    """A history from rows (client, kind, value, result, called, returned); returned None: never answered."""

    def make(*rows, key=None) -> History:
        made = []
        for client, kind, value, result, called, returned in rows:
            ending = Ending.UNKNOWN if returned is None else Ending.OK
            made.append(Operation(client, kind, key, value, result, called, returned, ending))
        return History(made)

    return make
