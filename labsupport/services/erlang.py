"""Erlang as RabbitMQ needs it: where it is, a boot that takes a third of the time, and questions to a running node."""

from __future__ import annotations

import functools
import glob
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import ServiceError, SetupError
from labsupport.services import sources
from labsupport.services.node import environment

TRIM_PROVEN = ("3.10.",)  # versions whose boot asks only for the attributes that `trim.escript` keeps
TRIM_FORMAT = 1  # part of the cache's key: raise it when trim.escript or the choice of applications changes

_asked = itertools.count()


@dataclass(frozen=True)
class Erlang:
    """An installed Erlang: its root and the directory of its virtual machine."""

    root: str
    bin: str

    def tool(self, name: str) -> str:
        return os.path.join(self.bin, name)


@functools.cache
def find(path: str) -> Erlang:
    """The Erlang of PATH (`path`); RabbitMQ's package depends on it, so it is there when RabbitMQ is."""
    erl = shutil.which("erl", path=os.pathsep.join([path, *sources.MORE_DIRECTORIES]))
    if erl is None:
        raise SetupError(
            "RabbitMQ is installed, but Erlang, in which it is written, is not on PATH.",
            do=f"run: {sources.install_line(sources.PINS['rabbitmq'])}",
        )
    root = os.path.dirname(os.path.dirname(os.path.realpath(erl)))
    if not glob.glob(f"{root}/erts-*/bin/erlexec"):
        asked = subprocess.run(
            [erl, "-noshell", "-eval", "io:put_chars(code:root_dir()), halt()."],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        root = asked.stdout.strip()
    machines = sorted(glob.glob(f"{root}/erts-*/bin"), key=sources.numbers)
    if not machines:
        raise SetupError(f"The Erlang of {erl} is not complete.", cause=f"there is no virtual machine below {root}")
    return Erlang(root, machines[-1])


def needed_applications(plugins: str) -> list[str]:
    """The directories in `plugins` of the applications that RabbitMQ's core asks for, directly or not.

    Some 20 of the 66 that are installed; each one less is a directory less to search for every module.
    """
    described: dict[str, tuple[str, list[str]]] = {}
    for file in glob.glob(os.path.join(plugins, "*", "ebin", "*.app")):
        asked = re.search(r"\{\s*applications\s*,\s*\[(.*?)\]", Path(file).read_text(errors="replace"), re.DOTALL)
        directory = os.path.dirname(os.path.dirname(file))
        described[Path(file).stem] = directory, re.findall(r"\w+", asked.group(1)) if asked else []
    needed, open_ = set(), ["rabbit"]
    while open_:
        name = open_.pop()
        if name in described and name not in needed:
            needed.add(name)
            open_.extend(described[name][1])
    return sorted(described[name][0] for name in needed)


@dataclass(frozen=True)
class Boot:
    """How to boot RabbitMQ: "trimmed", or "direct" (few applications, nothing trimmed)."""

    level: str
    plugins: str
    arguments: tuple[str, ...]


def prepare(home: str, version: str, erlang: Erlang, private: Path, *, trim: bool = True) -> Boot:
    """The fastest boot that this version is known to stand; made once and kept in the cache.

    Args:
        home: RabbitMQ's directory.
        version: its version.
        private: where to put what cannot be cached.
        trim: False to ask for the plainest boot.
    """
    plugins = os.path.join(home, "plugins")
    if trim and version.startswith(TRIM_PROVEN):
        try:
            made = _cached(plugins, version, erlang)
            return Boot("trimmed", str(made / "plugins"), ("-pa", str(made / "flat"), "-boot", str(made / "fast")))
        except (OSError, subprocess.SubprocessError):
            pass  # it only costs time to do without
    _link_applications(plugins, private / "plugins")
    return Boot("direct", str(private / "plugins"), ("-boot", "start_sasl"))


def _cached(plugins: str, version: str, erlang: Erlang) -> Path:
    key = f"{plugins} {os.stat(plugins).st_mtime_ns} {version} {erlang} {TRIM_FORMAT}"
    made = sources.cache_directory() / f"rabbitmq-{version}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if made.is_dir():
        if made.stat().st_uid != os.getuid():
            raise PermissionError(f"{made} belongs to somebody else, and we would run the code in it")
        return made
    sources.cache_directory().mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f"{made.name}-", dir=made.parent))
    try:
        _link_applications(plugins, half / "plugins")
        script = Path(__file__).with_name("trim.escript")
        subprocess.run(
            [os.path.join(erlang.root, "bin", "escript"), str(script), str(half), str(half / "plugins")],
            env=environment(half),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=True,
        )
        if not (half / "fast.boot").is_file() or len(list((half / "flat").glob("*.beam"))) < 1000:
            raise OSError("the trimmed boot is not complete")
        half.rename(made)  # in one step: another notebook may be making the same
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        if made.is_dir():
            return made
        raise
    return made


def _link_applications(plugins: str, into: Path) -> None:
    into.mkdir(mode=0o755, parents=True, exist_ok=True)
    for directory in needed_applications(plugins):
        (into / os.path.basename(directory)).symlink_to(directory)


def ask(erlang: Erlang, home: Path, port: int, expression: str, *, timeout_s: float = 5.0) -> str:
    """Evaluate an Erlang expression in a running node and return its value as text.

    Takes some 10 ms; `rabbitmqctl` starts a virtual machine of its own for each question, some 400 ms.

    Args:
        home: the directory that holds the node's cookie.
        port: the node's distribution port.
    """
    name = f"asker-{os.getpid()}-{next(_asked)}"  # of two callers with one name the node turns the second away
    limit = str(max(1, int(timeout_s)))
    try:
        asked = subprocess.run(
            [erlang.tool("erl_call"), "-h", name, "-address", f"localhost:{port}", "-timeout", limit, "-e"],
            input=expression + ".\n",
            capture_output=True,
            text=True,
            env=environment(home),
            timeout=timeout_s + 1,
            check=False,
        )
    except FileNotFoundError:
        raise SetupError("This Erlang has no erl_call, with which we ask RabbitMQ about its queues.") from None
    except subprocess.TimeoutExpired:
        raise ServiceError("RabbitMQ does not answer a question about its queues.") from None
    answer = asked.stdout.strip()
    if asked.returncode or not answer.startswith("{ok, "):
        raise ServiceError("RabbitMQ could not answer a question about its queues.", cause=answer + asked.stderr)
    return answer.removeprefix("{ok, ").removesuffix("}")
