"""The programs that no Python package ships: found on this machine, or brought by apt-get or brew where that may be."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.environment import installing

# Debian keeps servers where only root's PATH looks; Homebrew's sbin is on nobody's PATH by default.
_ALSO_LOOK_IN = (
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/lib/rabbitmq/bin",
    "/opt/homebrew/sbin",
    "/opt/homebrew/bin",
)
_TRIED = "share/labsupport/did-not-come.json"
_SYSTEMD = "/run/systemd/system"  # there when systemd runs the machine


@dataclass(frozen=True)
class Program:
    """One program: any of `commands` will do; `apt` and `brew` name the package that has it; `unit` its daemon."""

    name: str
    commands: tuple[str, ...]
    apt: str = ""
    brew: str = ""
    unit: str = ""
    also_in: tuple[str, ...] = ()

    def find(self) -> str | None:
        """The path of the program, or None."""
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ALSO_LOOK_IN])
        found = (shutil.which(command, path=path) for command in self.commands)
        return next((one for one in found if one), None) or next(filter(os.path.exists, self.also_in), None)


RABBITMQ = Program("RabbitMQ", ("rabbitmq-server",), "rabbitmq-server", "rabbitmq", "rabbitmq-server")
GEARMAN = Program("gearmand", ("gearmand",), "gearman-job-server", "gearman", "gearman-job-server")
THRIFT = Program("Thrift compiler", ("thrift",), "thrift-compiler", "thrift")
CHROMIUM = Program(
    "Chromium",
    ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    apt="chromium",
    also_in=(
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ),
)
FOR_LESSONS = (RABBITMQ, GEARMAN, THRIFT)
FOR_TESTS = (*FOR_LESSONS, CHROMIUM)


def missing(wanted: Sequence[Program]) -> list[Program]:
    """Those of the programs that are not on this machine."""
    return [program for program in wanted if not program.find()]


def install_line(wanted: Sequence[Program]) -> str:
    """The one line that brings the programs, for a person to run; "" where we know of none."""
    if sys.platform == "darwin":
        names = [program.brew for program in wanted if program.brew]
        return f"brew install {' '.join(names)}" if names else ""
    names = [program.apt for program in wanted if program.apt]
    return f"sudo apt-get install --no-install-recommends {' '.join(names)}" if names else ""


def worth_trying(wanted: Sequence[Program], prefix: Path) -> bool:
    """Whether not all of the programs have already failed to come in this environment."""
    try:
        tried = json.loads((prefix / _TRIED).read_text("utf-8"))
    except (OSError, ValueError):
        return os.access(prefix, os.W_OK)  # where nothing can be remembered, each start would try again
    return not {program.name for program in wanted} <= set(tried)


def remember(still_missing: Sequence[Program], prefix: Path) -> None:
    """Note which programs did not come, so that each later start does not spend time on them."""
    with contextlib.suppress(OSError):
        if still_missing or (prefix / _TRIED).exists():
            (prefix / _TRIED).parent.mkdir(parents=True, exist_ok=True)
            (prefix / _TRIED).write_text(json.dumps([program.name for program in still_missing]), "utf-8")


def notice(absent: Sequence[Program]) -> None:
    """Say which programs are missing and the line that brings them; nothing if none is."""
    if absent:
        line = install_line(absent)
        names = ", ".join(program.name for program in absent)
        todo = f"To bring what this system offers, run: {line}" if line else "Install what you need from its own site."
        sys.stderr.write(f"Not on this machine, and some lessons or tests need it: {names}. {todo}\n")


class Bringing:
    """Brings programs while the block does something else; never fails, only says what did not come.

    Args:
        wanted: the programs, none of which is on this machine.
    """

    def __init__(self, wanted: Sequence[Program]) -> None:
        self._wanted = list(wanted)
        self._said: list[str] = []
        self._process: subprocess.Popen | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._bring, daemon=True)

    def __enter__(self) -> Bringing:
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(self, kind, *_rest) -> None:
        self._stopped.set()
        if kind and self._thread.is_alive() and self._process:
            # Asked like this, apt-get stops where that does no harm. One that root runs for us only goes on.
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGINT)
            sys.stderr.write("System programs: their installer ends by itself, in the background.\n")

    @property
    def still_missing(self) -> list[Program]:
        return missing(self._wanted)

    def finish(self) -> None:
        """Wait until all is tried, then say what came and what did not."""
        if self._thread.is_alive():
            with installing.StatusLine("System programs") as line:
                line.phase(f"installing {', '.join(program.name for program in self._wanted)}")
                while self._thread.is_alive():
                    self._thread.join(0.2)
        for words in self._said:
            sys.stderr.write(words + "\n")
        notice(self.still_missing)

    def _bring(self) -> None:
        try:
            if sys.platform == "darwin":
                self._with_brew()
            else:
                self._with_apt()
        except OSError as error:
            self._said.append(f"System programs: {error}.")

    def _started(self, process: subprocess.Popen) -> None:
        self._process = process

    def _with_brew(self) -> None:
        brew = shutil.which("brew", path=os.pathsep.join([os.environ.get("PATH", ""), *_ALSO_LOOK_IN]))
        names = [program.brew for program in self._wanted if program.brew]
        if brew and names:
            command = ["/usr/bin/env", "NONINTERACTIVE=1", "HOMEBREW_NO_AUTO_UPDATE=1", brew, "install", *names]
            self._tell("brew", names, *installing.run_uncut(command, self._started))

    def _with_apt(self) -> None:
        packages = [program.apt for program in self._wanted if program.apt]
        root = as_root()
        if not packages or root is None or not shutil.which("apt-get"):
            return
        self._tell("apt-get", packages, *_apt_get(root, packages, self._stopped, self._started))
        units = [program.unit for program in self._wanted if program.unit and program.find()]
        if units and os.path.isdir(_SYSTEMD):
            subprocess.run([*root, "systemctl", "disable", "--now", *units], capture_output=True, check=False)
            names = ", ".join(units)
            self._said.append(
                f"System programs: {names} will not run by itself; the course starts its own when needed."
            )

    def _tell(self, tool: str, packages: Sequence[str], status: int, printed: str) -> None:
        if status == 0:
            self._said.append(f"System programs: {', '.join(packages)} installed by {tool}.")
        else:
            lines = [text for text in printed.splitlines() if text.strip()] or ["it gave no reason"]
            errors = [text for text in lines if text.startswith(("E:", "Error"))] or lines
            self._said.append(f"System programs: {tool} could not bring all of them: {errors[-1]}")


def as_root() -> list[str] | None:
    """The words before a command that make root run it without asking for a password, or None."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if not sudo:
        return None
    asked = subprocess.run([sudo, "-n", "true"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return [sudo, "-n"] if asked.returncode == 0 else None


def apt_install(packages: Sequence[str]) -> bool:
    """Whether apt-get installed the packages; False at once where it may not be used."""
    root = as_root()
    if root is None or not shutil.which("apt-get"):
        return False
    return _apt_get(root, packages, threading.Event(), lambda process: None)[0] == 0


def _apt_get(
    root: Sequence[str],
    packages: Sequence[str],
    stopped: threading.Event,
    started: Callable[[subprocess.Popen], None],
) -> tuple[int, str]:
    """Install the packages, or as many as there are; (exit status, what apt-get printed)."""

    def apt(*words: str) -> tuple[int, str]:
        if stopped.is_set():
            return 1, "stopped"
        quiet = ["DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_MODE=l", "LC_ALL=C"]
        return installing.run_uncut([*root, "env", *quiet, *words], started)

    lock = ("-o", "DPkg::Lock::Timeout=60")
    install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *lock)
    status, printed = apt(*install, *packages)
    if status and "dpkg --configure -a" in printed:  # an installation was cut off halfway, by a power loss say
        apt("dpkg", "--configure", "-a")
        status, printed = apt(*install, *packages)
    if status and re.search(r"Unable to locate|no installation candidate|Failed to fetch|404", printed):
        apt("apt-get", "update", "-q", *lock)
        status, printed = apt(*install, *packages)
    if status and len(packages) > 1:  # one package that this system lacks must not keep the others away
        answers = [apt(*install, package) for package in packages]
        status, printed = next((answer for answer in answers if answer[0]), (0, ""))
    return status, printed
