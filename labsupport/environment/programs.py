"""The programs that no Python package ships: found on this machine, or brought by apt-get or brew where that may be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport import installing

# Debian keeps servers where only root's PATH looks; Homebrew's sbin is on nobody's PATH by default.
_ALSO_LOOK_IN = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/opt/homebrew/bin")


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


def missing(programs: Sequence[Program]) -> list[Program]:
    """Those of the programs that are not on this machine."""
    return [program for program in programs if not program.find()]


def install_line(programs: Sequence[Program]) -> str:
    """The one line that brings the programs, for a person to run; "" where we know of none."""
    if sys.platform == "darwin":
        names = [program.brew for program in programs if program.brew]
        return f"brew install {' '.join(names)}" if names else ""
    names = [program.apt for program in programs if program.apt]
    return f"sudo apt-get install --no-install-recommends {' '.join(names)}" if names else ""


def notice(programs: Sequence[Program]) -> None:
    """Say which programs are missing and what brings them, in one line; nothing if none is."""
    if programs:
        names = ", ".join(program.name for program in programs)
        line = install_line(programs)
        todo = f"bring them with: {line}" if line else "see https://www.rabbitmq.com, gearman.org, thrift.apache.org"
        sys.stderr.write(f"Some lessons need {names}, not on this machine; {todo}\n")


class Bringing:
    """Brings the programs while the block does something else; never fails, only says so.

    Args:
        programs: what is missing.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = list(programs)
        self._said: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._bring, daemon=True)

    def __enter__(self) -> Bringing:
        self._thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._stopped.set()

    @property
    def still_missing(self) -> list[Program]:
        return missing(self._programs)

    def finish(self) -> None:
        """Wait until all is tried, then say what came and what did not."""
        if self._thread.is_alive():
            names = ", ".join(program.name for program in self._programs)
            with installing.StatusLine("System programs") as line:
                line.phase(f"installing {names}")
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

    def _with_brew(self) -> None:
        brew = shutil.which("brew") or shutil.which("brew", path="/opt/homebrew/bin:/usr/local/bin")
        names = [program.brew for program in self._programs if program.brew]
        if brew and names:
            status, printed = installing.run(
                [brew, "install", *names], env={**os.environ, "NONINTERACTIVE": "1"}, may_outlive=True
            )
            self._tell("brew", names, status, printed)

    def _with_apt(self) -> None:
        packages = [program.apt for program in self._programs if program.apt]
        if not packages or as_root() is None or not shutil.which("apt-get"):
            return
        failed = _apt_get(packages, self._stopped)
        came = [program for program in self._programs if program.find()]
        units = [program.unit for program in came if program.unit]
        self._tell("apt-get", packages, 1 if failed else 0, failed)
        if units and os.path.isdir("/run/systemd/system"):
            subprocess.run([*as_root(), "systemctl", "disable", "--now", *units], capture_output=True)
            self._said.append(
                f"System programs: {', '.join(units)} will not run by itself; the course starts its own on free ports."
            )

    def _tell(self, tool: str, packages: Sequence[str], status: int, printed: str) -> None:
        if status == 0:
            self._said.append(f"System programs: {', '.join(packages)} installed by {tool}.")
        else:
            last = [text for text in printed.splitlines() if text.startswith(("E:", "Error"))] or printed.splitlines()
            self._said.append(f"System programs: {tool} could not install all of them: {(last or ['no reason given'])[-1]}")


def as_root() -> list[str] | None:
    """The words before a command that make root run it, or None if we may not."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0:
        return [sudo, "-n"]
    return None


def apt_install(packages: Sequence[str], line: installing.StatusLine) -> bool:
    """Whether apt-get installed the packages; False at once where it may not be used."""
    if as_root() is None or not shutil.which("apt-get"):
        return False
    return not _apt_get(list(packages), threading.Event())


def _apt_get(packages: list[str], stopped: threading.Event) -> str:
    """Install the packages; what apt-get printed if some did not come, else ""."""

    def apt(*words: str) -> tuple[int, str]:
        if stopped.is_set():
            return 1, "stopped"
        settings = ["DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_MODE=l", "LC_ALL=C"]
        return installing.run([*as_root(), "env", *settings, *words], may_outlive=True)

    install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60")
    status, printed = apt(*install, *packages)
    if status and "dpkg --configure -a" in printed:  # an installation was cut off halfway, by a power loss say
        apt("dpkg", "--configure", "-a")
        status, printed = apt(*install, *packages)
    if status and re.search(r"Unable to locate|no installation candidate|Failed to fetch|404", printed):
        apt("apt-get", "update", "-q", "-o", "DPkg::Lock::Timeout=60")
        status, printed = apt(*install, *packages)
    if status and len(packages) > 1:  # one package that this system lacks must not keep the others away
        answers = [apt(*install, package) for package in packages]
        status, printed = next((answer for answer in answers if answer[0]), (0, ""))
    return printed if status else ""
