"""The examples in the docstrings of histories and checkers run as they are printed."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from labsupport import checkers

MODULES = [
    "labsupport.history",
    *(f"labsupport.checkers.{part.name}" for part in pkgutil.iter_modules(checkers.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_there_are_examples():
    found = [test for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) >= 10
