"""Thrift: an interface definition (`.thrift`) made into Python, by its compiler or, where there is none, by us.

    shop = thrift.load("lessons/idl/shop.thrift")
    shop.Item(sku="book")                           # a struct, an exception, an enumeration, a constant
    shop.Shop.Client(protocol), shop.Shop.Processor(handler)

The compiler (https://thrift.apache.org/docs/idl) writes modules, and we import them. Without it, thriftpy2 reads the
definition and we build the same classes at run time, on the same library (`thrift` of Apache). What a program sees and
what goes over the wire is the same; only the generated text is not there to be read.
"""

from __future__ import annotations

import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from labsupport import environment
from labsupport.environment import programs
from labsupport.errors import LearnerError, SetupError
from labsupport.services import reaper, sources

_numbers = itertools.count()


def compiler() -> sources.Program | None:
    """The Thrift compiler of this machine, or None."""
    path = programs.THRIFT.find()
    if path is None:
        return None
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"\d+\.\d+\.\d+", shown.stdout + shown.stderr)
    return sources.Program(path, found.group(), "PATH") if found else None


def load(definition: str | Path, *, compiled: bool | None = None) -> ModuleType:
    """The Python of an interface definition: its structs, exceptions, enumerations, constants and services.

    Each call makes a new module, so that an old and a new version of one definition can be in use together. Its
    `generated` is the directory of the compiler's text, or None.

    Args:
        definition: the path of a `.thrift` file.
        compiled: True for the compiler, False for no compiler; None takes it where it is.

    Raises:
        LearnerError: there is no such file, or it is not understood; the error names the line.
        SetupError: the compiler is wanted, and not here; or the library is missing and cannot be installed.
    """
    environment.add("thrift")
    path = Path(definition).resolve()
    if not path.is_file():
        raise LearnerError(f"There is no file {path.name} in {path.parent}.", do="check its path")
    found = compiler() if compiled is not False else None
    if found is not None:
        return _compile(path, found.path)
    if compiled:
        raise SetupError(
            "The Thrift compiler is not on this machine.",
            cause="no package of Python brings it",
            do=f"run: {programs.install_line([programs.THRIFT])}; or go on without: load(definition) needs none",
        )
    from labsupport.services import thrift_runtime

    return thrift_runtime.build(path, f"lab_thrift_{next(_numbers)}")


def _compile(path: Path, program: str) -> ModuleType:
    root, package = reaper.private_directory("thrift"), f"lab_thrift_{next(_numbers)}"
    (root / package).mkdir()
    argv = [program, "-r", "--gen", f"py:package_prefix={package}.", "-out", str(root / package), str(path)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise refusal(path, ran.stderr + ran.stdout)
    (root / package / "__init__.py").touch()
    namespace = re.search(r"^\s*namespace\s+(?:py|\*)\s+([\w.]+)", path.read_text("utf-8"), re.M)
    inner = f"{package}.{namespace[1] if namespace else path.stem}"
    place = root.joinpath(*inner.split("."))
    module = ModuleType(path.stem, f"Made from {path.name} by the Thrift compiler.")
    module.generated = place
    sys.path.insert(0, str(root))
    try:
        importlib.invalidate_caches()
        for name in ("ttypes", "constants"):
            for key, value in vars(importlib.import_module(f"{inner}.{name}")).items():
                if getattr(value, "__module__", "").startswith(package) or (key.isupper() and not key.startswith("_")):
                    setattr(module, key, value)
        for file in sorted(place.glob("*.py")):
            if file.stem not in ("__init__", "ttypes", "constants"):
                setattr(module, file.stem, importlib.import_module(f"{inner}.{file.stem}"))
    finally:
        sys.path.remove(str(root))
    return module


def refusal(path: Path, said: str) -> LearnerError:
    """A definition that is not understood."""
    lines = [line for line in said.splitlines() if "error" in line.lower()] or ["no reason was given"]
    return LearnerError(
        f"{path.name} is no Thrift definition.",
        cause=" ".join(lines[:2]).replace(f"{path.parent}/", ""),
        do="compare that line with https://thrift.apache.org/docs/idl",
    )
