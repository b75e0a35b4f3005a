"""Which Python runs the course: the one at hand if it has every package, else ``.venv``, made and repaired here.

Two marker files in ``.venv`` carry what an interrupted run leaves for the next one:

    .labsupport-made        written before anything else: the environment is ours, we may remove it
    .labsupport-ready       written after everything else: what is installed (hash of requirements.txt, Python, extras)
    .labsupport-unfinished  an installation is under way; if it is found later, that one was cut off

An environment of ours without the ready marker is removed and made again. One that you made yourself is never removed:
we install into it.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from labsupport import installing, system
from labsupport.errors import LabError, SetupError

ROOT = Path(__file__).resolve().parent.parent
NEEDED_MB = 900  # what requirements.txt takes on disk while pip unpacks it, with room to spare
MADE, READY, UNFINISHED = ".labsupport-made", ".labsupport-ready", ".labsupport-unfinished"

# What pip and uv print -> (cause, what to do). The first that matches is told.
_REASONS = (
    (
        r"No space left on device|os error 28|Disk quota exceeded",
        "the disk is full",
        "free about 1 GB where the course is and in the directory for temporary files, then run the command again",
    ),
    (
        r"Read-only file system|os error 30",
        "the course is on a read-only disk",
        "copy the course to a directory of your own and run the command there",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|SSLError",
        "the secure connection to the package index is not trusted, often because of a proxy of your organisation",
        "set PIP_CERT (and SSL_CERT_FILE) to your organisation's certificate file, then run the command again",
    ),
    (
        r"NewConnectionError|Name or service not known|[Tt]emporary failure in name resolution|nodename nor servname"
        r"|Max retries exceeded|ProxyError|[Tt]imed? ?out|Network is unreachable|[Cc]onnection refused"
        r"|Connection broken|Connection reset|IncompleteRead|dns error|error sending request|Failed to fetch",
        "the package index cannot be reached from this machine",
        "check the network connection, then run the command again (with a proxy: set HTTPS_PROXY)",
    ),
    (
        r"No matching distribution found|no wheels with a matching|from versions: none",
        "a package does not exist for this system or this Python",
        "use Linux (glibc 2.28 or newer) or macOS 13 or newer, with Python 3.10 to 3.13",
    ),
    (r"Permission denied|os error 13", "you may not write there", "copy the course to a directory of your own"),
)


def pins(root: Path = ROOT) -> dict[str, str]:
    """The packages that every platform and every Python needs, name to version, from requirements.txt."""
    found = re.findall(r"^([\w.-]+)==([^\s;#]+)\s*(?:#.*)?$", (root / "requirements.txt").read_text("utf-8"), re.M)
    return dict(found)


def extras(root: Path = ROOT) -> dict[str, list[str]]:
    """The optional groups of packages, name to requirements, from pyproject.toml.

    Python 3.10 has no TOML parser, but a TOML table of string lists happens to be Python, too.
    """
    text = (root / "pyproject.toml").read_text("utf-8")
    table = re.search(r"^\[project\.optional-dependencies\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)
    if not table:
        return {}
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(table[1]).body}


def enter(
    argv: Sequence[str], *, extra: Sequence[str] = (), programs: Sequence[system.Program] = (), insist: bool = False
) -> None:
    """Return only in a Python that has every package of the course and of the extras; make it first if need be.

    Args:
        argv: the command's arguments, for the same command in the other Python.
        extra: names of extras that the command needs.
        programs: system programs to bring at the same time, where this is possible.
        insist: try to bring missing programs even if that has been tried before.
    """
    python = ready(extra=extra, programs=programs, insist=insist)
    if not _same(python, Path(sys.executable)):
        with installing.flushed():
            os.execv(python, [str(python), str(ROOT / "labsupport"), *argv])


def ready(
    *, extra: Sequence[str] = (), programs: Sequence[system.Program] = (), insist: bool = False, root: Path = ROOT
) -> Path:
    """Make sure of a Python with every package of the course and of the extras; its path. (See `enter`.)"""
    venv = root / ".venv"
    python = venv / "bin" / "python"
    missing = system.missing(programs)
    attempt = bool(missing) and (insist or not _tried(venv, missing))
    if not _inside(venv) and not attempt and not _is_ready(venv, extra, root) and _at_hand(extra, root):
        system.notice(missing)
        return Path(sys.executable)
    if _is_ready(venv, extra, root) and not attempt:
        system.notice(missing)
        return python
    if not _is_ready(venv, (), root) and not _inside(venv) and _at_hand(extra, root):
        python = Path(sys.executable)
        venv = None
    with installing.stop_signals_raise(), _only_one(root) as lock, contextlib.ExitStack() as stack:
        bringing = stack.enter_context(system.Bringing(missing)) if attempt else None
        if venv is not None and not _is_ready(venv, extra, root):
            _make(venv, extra, root, lock)
        if bringing:
            bringing.finish()
            if venv is not None:
                _remember(venv, bringing.still_missing)
    return python


def add(*names: str, root: Path = ROOT) -> None:
    """Install extras into the environment that is running, for a lesson that needs them for the first time.

    Args:
        names: extras of pyproject.toml, e.g. ``"kafka"``.

    Raises:
        SetupError: they cannot be installed here.
    """
    unknown = sorted(set(names) - set(extras(root)))
    if unknown:
        raise ValueError(f"no such extra in pyproject.toml: {', '.join(unknown)}")
    if _has(names, root):
        return
    venv = root / ".venv" if _inside(root / ".venv") else Path(sys.prefix)
    with _only_one(root) as lock:
        _install_extras(venv, Path(sys.executable), names, root, lock)
    import importlib

    importlib.invalidate_caches()


# -- what is there -----------------------------------------------------------------------------------------------------


def _same(one: Path, other: Path) -> bool:
    """Whether two paths start Python in the same environment (a link to the same program is not enough)."""
    return os.path.abspath(one.parent) == os.path.abspath(other.parent)


def _inside(venv: Path) -> bool:
    return os.path.realpath(sys.prefix) == os.path.realpath(venv)


def _at_hand(extra: Sequence[str], root: Path) -> bool:
    """Whether the running Python already has every package."""
    for name, version in pins(root).items():
        try:
            if metadata.version(name) != version:
                return False
        except metadata.PackageNotFoundError:
            return False
    return _has(extra, root)


def _has(extra: Sequence[str], root: Path) -> bool:
    """Whether the running Python has the packages of the extras, looked up by name and version."""
    for requirement in (r for name in extra for r in extras(root)[name] if ";" not in r):
        name, _, version = requirement.partition("==")
        try:
            if metadata.version(name.partition("[")[0]) != version:
                return False
        except metadata.PackageNotFoundError:
            return False
    return True


def _digest(root: Path) -> str:
    return hashlib.sha256((root / "requirements.txt").read_bytes()).hexdigest()


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict) -> None:
    """All of it or nothing, even if the power fails."""
    half = path.with_name(path.name + ".half")
    with open(half, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


def _interpreter(venv: Path) -> list:
    """What the environment's Python is: a changed one has to be asked for its version again."""
    program = os.path.realpath(venv / "bin" / "python")
    status = os.stat(program)
    return [program, status.st_size, int(status.st_mtime)]


def _is_ready(venv: Path, extra: Sequence[str], root: Path) -> bool:
    state = _read(venv / READY)
    try:
        if not state or state["requirements"] != _digest(root) or state["root"] != str(root):
            return False
        if state["interpreter"] != _interpreter(venv):
            if _version(venv / "bin" / "python")[:2] != state["python"][:2]:
                return False
            _write(venv / READY, {**state, "interpreter": _interpreter(venv)})
        wanted = extras(root) if extra else {}
        return all(state["extras"].get(name) == wanted[name] for name in extra)
    except (OSError, KeyError, TypeError, subprocess.SubprocessError):
        return False


def _version(python: Path) -> list[int]:
    answer = subprocess.run(
        [python, "-I", "-S", "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, check=True
    )
    return [int(part) for part in answer.stdout.split()]


def _tried(venv: Path, missing: Sequence[system.Program]) -> bool:
    state = _read(venv / ".labsupport-programs")
    return set(p.name for p in missing) <= set(state.get("could_not_bring", ()))


def _remember(venv: Path, still_missing: Sequence[system.Program]) -> None:
    with contextlib.suppress(OSError):
        _write(venv / ".labsupport-programs", {"could_not_bring": [p.name for p in still_missing]})


# -- making it ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[int]:
    """Hold the lock that lets one command at a time work on the environment; its descriptor."""
    with open(root / "pyproject.toml", "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with installing.StatusLine("Course environment") as line:
                line.phase("another command is preparing it; waiting for that one")
                while True:
                    time.sleep(0.2)
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        continue
        except OSError:
            pass  # a file system without locks (some network drives): go on without
        yield file.fileno()


def _make(venv: Path, extra: Sequence[str], root: Path, lock: int) -> None:
    ours = (venv / MADE).exists() or (venv.is_dir() and not any(venv.iterdir()))
    sound = _is_ready(venv, (), root)
    _check_room(root)
    with _explained(root):
        if sound:
            _install_extras(venv, venv / "bin" / "python", extra, root, lock)
        elif venv.is_dir() and not ours:
            _install_into_yours(venv, extra, root, lock)
        else:
            _build(venv, extra, root, lock)


def _build(venv: Path, extra: Sequence[str], root: Path, lock: int) -> None:
    """Make the environment from nothing, and leave nothing if that fails or is interrupted."""
    with installing.StatusLine("Course environment") as line:
        if venv.is_symlink() or venv.exists():
            line.phase("removing one that an earlier run left unfinished or that is out of date")
            _remove(venv)
        try:
            line.phase("creating .venv")
            venv.mkdir()
            _write(venv / MADE, {"by": "python3 -m labsupport"})
            uv = shutil.which("uv")
            if uv:
                status, printed = installing.run(
                    [uv, "venv", "--quiet", "--seed", "--allow-existing", "--python", _base_python(), venv],
                    env=_clean_environment(),
                    keep_open=[lock],
                )
                if status == 0:
                    status, printed = _install(venv / "bin" / "python", ["-r", root / "requirements.txt"], line, lock)
                if status != 0:
                    line.say("uv could not make the environment; trying with pip.")
                    _remove(venv)
                    venv.mkdir()
                    _write(venv / MADE, {"by": "python3 -m labsupport"})
                    uv = None
            if not uv:
                _create_with_venv(venv, line, lock)
                status, printed = _install(
                    venv / "bin" / "python", ["-r", root / "requirements.txt"], line, lock, uv=None
                )
                _check(status, printed)
            _finish(venv, root, {})
            line.say(f"Course environment: .venv is ready ({line.elapsed_s:.0f} s).")
        except BaseException as problem:
            if isinstance(problem, (KeyboardInterrupt, SystemExit)):
                line.phase("interrupted; removing the unfinished .venv")
            _remove(venv)
            raise
    if extra:
        _install_extras(venv, venv / "bin" / "python", extra, root, lock)


def _install_into_yours(venv: Path, extra: Sequence[str], root: Path, lock: int) -> None:
    """Install into an environment that somebody else made; it is never removed."""
    python = venv / "bin" / "python"
    if not python.exists():
        raise SetupError(
            f"{venv} is not a working Python environment, and it was not made by the course.",
            cause="it was made by something else, or its Python was removed",
            do=f"rename or remove it (`mv {venv} {venv}-old`), then run the command again",
        )
    if _version(python)[:2] < [3, 10]:
        raise SetupError(
            f"{venv}, which the course did not make, has Python {'.'.join(map(str, _version(python)))}.",
            cause="the course needs Python 3.10 or newer",
            do=f"rename or remove it (`mv {venv} {venv}-old`), then run the command again",
        )
    with installing.StatusLine("Course environment") as line:
        line.say(f"Course environment: {venv} is your own; the course's packages are installed into it.")
        again = ["--force-reinstall"] if (venv / UNFINISHED).exists() else []
        _write(venv / UNFINISHED, {})
        (venv / READY).unlink(missing_ok=True)
        _check(*_install(python, [*again, "-r", root / "requirements.txt"], line, lock))
        (venv / UNFINISHED).unlink(missing_ok=True)
        _finish(venv, root, {})
    if extra:
        _install_extras(venv, python, extra, root, lock)


def _install_extras(venv: Path, python: Path, names: Sequence[str], root: Path, lock: int) -> None:
    """Add extras beside what is there; requirements.txt holds its versions where they are."""
    wanted = extras(root)
    state = _read(venv / READY)
    names = [name for name in names if state.get("extras", {}).get(name) != wanted[name]]
    if not names:
        return
    with installing.StatusLine(f"Packages for {', '.join(names)}") as line, _explained(root):
        interrupted = set(_read(venv / UNFINISHED).get("extras", ()))
        again = ["--force-reinstall"] if interrupted & set(names) else []
        _write(venv / UNFINISHED, {"extras": sorted(interrupted | set(names))})
        requirements = [requirement for name in names for requirement in wanted[name]]
        words = [*again, "-c", root / "requirements.txt", *requirements]
        _check(*_install(python, words, line, lock))
        left = sorted(interrupted - set(names))
        if state:
            _finish(venv, root, {**state["extras"], **{name: wanted[name] for name in names}})
        if left:
            _write(venv / UNFINISHED, {"extras": left})
        else:
            (venv / UNFINISHED).unlink(missing_ok=True)
        line.say(f"Packages for {', '.join(names)}: installed ({line.elapsed_s:.0f} s).")


def _create_with_venv(venv: Path, line: installing.StatusLine, lock: int) -> None:
    base = _base_python()
    command = [base, "-I", "-m", "venv", venv]
    status, printed = installing.run(command, env=_clean_environment(), keep_open=[lock])
    if status != 0 and re.search(r"ensurepip|python3(\.\d+)?-venv", printed):
        package = "python{}.{}-venv".format(*_version(Path(base))[:2])
        line.phase(f"installing {package}, without which this Python cannot make environments")
        if system.apt_install([package], line):
            line.phase("creating .venv")
            status, printed = installing.run(command, env=_clean_environment(), keep_open=[lock])
        if status != 0:
            raise SetupError(
                "This Python cannot make an environment: its module ensurepip is missing.",
                cause="Debian and Ubuntu keep that module in a package of its own",
                do=f"run `sudo apt-get install {package}`, then run the command again",
            )
    _check(status, printed)


def _install(
    python: Path, words: Sequence[str | Path], line: installing.StatusLine, lock: int, uv: str | None = ""
) -> tuple[int, str]:
    """`pip install` (or uv's) with progress: (exit status, what it printed)."""
    if uv == "":
        uv = shutil.which("uv")
    packages = Path(_purelib(python))
    before = _count(packages)
    plan: set[str] = set()
    installs = False

    def on_line(text: str) -> None:
        nonlocal installs
        if found := re.match(r"\s*(?:Collecting|Requirement already satisfied:) ([\w.-]+)", text):
            plan.add(found[1])
            line.phase("downloading")
            line.detail(f"package {len(plan)}, {found[1]}")
        elif text.startswith(("Installing collected", "Prepared ")):
            installs = True
            line.phase(f"installing {len(plan) or ''} packages".replace("  ", " "))
        elif found := re.match(r"\s*(?:Building wheel|Preparing metadata|Building) .*?([\w-]+)", text):
            line.detail(text.strip())

    if uv:
        # uv's own word for --force-reinstall is --reinstall.
        words = ["--reinstall" if word == "--force-reinstall" else word for word in words]
        command = [uv, "pip", "install", "--python", python, "--no-progress", "--compile-bytecode", *words]
        line.phase("downloading and installing with uv")
    else:
        command = [
            *(python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
            *("--progress-bar", "off", "--no-user", "--no-warn-script-location", *words),
        ]
        line.phase("downloading")
    with installing.every(0.5, lambda: installs and line.detail(f"{_count(packages) - before} done")):
        return installing.run(command, on_line=on_line, env=_clean_environment(), keep_open=[lock])


def _finish(venv: Path, root: Path, installed: dict[str, list[str]]) -> None:
    """Let kernels find labsupport, then write down that all is there."""
    python = venv / "bin" / "python"
    (Path(_purelib(python)) / "labsupport.pth").write_text(f"{root}\n", "utf-8")
    os.sync()  # the marker must not reach the disk before what it vouches for
    _write(
        venv / READY,
        {
            "requirements": _digest(root),
            "python": _version(python),
            "interpreter": _interpreter(venv),
            "root": str(root),
            "extras": installed,
        },
    )


def _purelib(python: Path) -> str:
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([python, "-I", "-c", ask], capture_output=True, check=True, text=True).stdout.strip()


def _count(packages: Path) -> int:
    try:
        return sum(name.endswith(".dist-info") for name in os.listdir(packages))
    except OSError:
        return 0


def _base_python() -> str:
    return (sys.prefix != sys.base_prefix and getattr(sys, "_base_executable", None)) or sys.executable


def _clean_environment() -> dict[str, str]:
    """Our environment without what would send packages elsewhere."""
    away = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_COMPILE", "PIP_PYTHON"}
    return {**{k: v for k, v in os.environ.items() if k not in away}, "PYTHONUNBUFFERED": "1"}


def _remove(venv: Path) -> None:
    """Remove an environment of ours, its made marker last, so that a removal cut off is recognised."""
    if venv.is_symlink() or not venv.is_dir():
        venv.unlink(missing_ok=True)
        return
    (venv / READY).unlink(missing_ok=True)
    for entry in sorted(venv.iterdir(), key=lambda path: path.name == MADE):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    venv.rmdir()


def _check_room(root: Path) -> None:
    free_mb = shutil.disk_usage(root).free // 1_000_000
    if free_mb < NEEDED_MB:
        raise SetupError(
            f"There is too little disk space for the course's packages: {free_mb} MB free, {NEEDED_MB} MB needed.",
            cause=f"the disk that holds {root} is nearly full",
            do="free some space, then run the command again",
        )


def _check(status: int, printed: str) -> None:
    if status == 0:
        return
    last = [text.strip() for text in printed.splitlines() if text.strip()]
    errors = [text for text in last if text.lower().startswith("error")] or last
    for pattern, cause, do in _REASONS:
        if re.search(pattern, printed):
            break
    else:
        cause, do = (errors or ["it said nothing"])[-1], "read the lines above, then run the command again"
        sys.stderr.write("\n".join(last[-15:]) + "\n")
    raise SetupError("The course's packages could not be installed.", cause=cause, do=do)


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except LabError:
        raise
    except OSError as error:
        for pattern, cause, do in _REASONS:
            if re.search(pattern, str(error)):
                raise SetupError(f"The course's packages could not be installed in {root}.", cause=cause, do=do) from error
        raise
