"""The environment that the course runs in: its Python with every package, and the programs that no package ships."""

from labsupport.environment.venv import ROOT, add, enter, extras, has, ready, usable

__all__ = ["ROOT", "add", "enter", "extras", "has", "ready", "usable"]
