"""The Rafts of the tests: one right, thirteen wrong."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys

import pytest

RAFTS = pathlib.Path(__file__).resolve().parent / "rafts"


def load(name):
    """The module tests/sim/rafts/<name>.py; wrong/<name>.py builds on right.py."""
    if str(RAFTS) not in sys.path:
        sys.path.insert(0, str(RAFTS))
    if "/" not in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"rafts_{name.replace('/', '_')}", RAFTS / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def raft():
    """Load one of the Rafts by name."""
    return load


@pytest.fixture
def scenario():
    """Everything that `explore` needs to know about a Raft but its class."""
    right, properties = load("right"), load("properties")
    return {
        "clients": {"c1": right.Client, "c2": right.Client},
        "properties": properties.ALL,
        "sometimes": ("leader",),
    }
