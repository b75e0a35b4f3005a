"""Which Python runs the course: the one at hand if it has every package, else ``.venv``, made and repaired here.

Marker files in ``.venv`` carry what an interrupted run leaves for the next one:

    .labsupport-made        written before anything else: the environment is ours, we may remove it
    .labsupport-unfinished  an installation is under way; found without the lock, it was cut off
    .labsupport-ready       written after everything else: what is installed (hash of requirements.txt, Python, extras)

An environment of ours that is not ready is removed and made again. One that you made yourself is never removed: we
install into it.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import importlib
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

from labsupport.environment import installing, programs
from labsupport.errors import LabError, SetupError
from labsupport.repeating import every

ROOT = Path(__file__).resolve().parents[2]
LOCKED_EXTRAS = "labsupport/environment/everything.txt"  # versions for what the extras bring with them
NEEDED_MB, NEEDED_FOR_SPARK_MB = 900, 1600  # 550 and 550 MB when installed, and what pip unpacks on the way
MADE, UNFINISHED, READY = ".labsupport-made", ".labsupport-unfinished", ".labsupport-ready"

_NO_ENSUREPIP = r"ensurepip is not\s+available|No module named .?ensurepip"

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
        "set PIP_CERT and SSL_CERT_FILE to your organisation's certificate file, then run the command again",
    ),
    (
        r"NewConnectionError|Name or service not known|[Tt]emporary failure in name resolution|nodename nor servname"
        r"|Max retries exceeded|ProxyError|[Tt]imed? ?out|Network is unreachable|[Cc]onnection refused"
        r"|Connection broken|Connection reset|IncompleteRead|dns error|error sending request|Failed to fetch",
        "the package index cannot be reached from this machine",
        "check the network connection, then run the command again (behind a proxy, set HTTPS_PROXY)",
    ),
    (
        r"No matching distribution found|no wheels with a matching|from versions: none",
        "a package does not exist for this system or this Python",
        "use Linux (glibc 2.28 or newer) or macOS 13 or newer, with Python 3.10 to 3.13",
    ),
    (
        r"Permission denied|os error 13|Operation not permitted",
        "you may not write there; perhaps an earlier command was run by another user",
        "make the course's directory your own (`sudo chown -R $USER DIRECTORY`), or copy it to one that is",
    ),
)


def enter(
    argv: Sequence[str], *, extra: Sequence[str] = (), wanted: Sequence[programs.Program] = (), insist: bool = False
) -> None:
    """Return only in a Python that has every package of the course and of the extras.

    If this is another than the running one, it takes the process over and begins the same command from the start.

    Args:
        argv: the command's arguments.
        extra: names of extras that the command needs.
        wanted: system programs to bring at the same time, where this is possible.
        insist: try to bring missing programs even if that has failed before.

    Raises:
        SetupError: no such Python can be made here; the error says why.
    """
    python = ready(extra=extra, wanted=wanted, insist=insist)
    if os.path.abspath(python.parent) != os.path.abspath(os.path.dirname(sys.executable)):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(python, [str(python), str(ROOT / "labsupport"), *argv])


def ready(
    *, extra: Sequence[str] = (), wanted: Sequence[programs.Program] = (), insist: bool = False, root: Path = ROOT
) -> Path:
    """Make sure of a Python with every package of the course and of the extras, and return its path. (See `enter`.)"""
    python = usable(extra, root)
    missing = programs.missing(wanted)
    if python and not (missing and (insist or programs.worth_trying(missing, _prefix(python)))):
        programs.notice(missing)
        return python
    with installing.stop_signals_raise(), _only_one(root) as lock:
        python = usable(extra, root)  # again: the command that we waited for may have done it all
        missing = programs.missing(wanted)
        with programs.Bringing(missing) as bringing:
            if python is None:
                python = _make(extra, root, lock)
            bringing.finish()
        programs.remember(bringing.still_missing, _prefix(python))
    return python


def add(*names: str, root: Path = ROOT) -> None:
    """Install extras into the environment that is running, for a lesson that needs them for the first time.

    Args:
        names: extras of pyproject.toml, e.g. ``"kafka"``.

    Raises:
        SetupError: they cannot be installed here; the error says why.
    """
    unknown = sorted(set(names) - set(extras(root)))
    if unknown:
        raise ValueError(f"no such extra in pyproject.toml: {', '.join(unknown)}")
    venv = Path(sys.prefix)
    if not has(*names, root=root):
        with _only_one(root) as lock, _explained(root):
            _install_extras(venv, Path(sys.executable), names, root, lock)
        importlib.invalidate_caches()


def has(*names: str, root: Path = ROOT) -> bool:
    """Whether the running Python has the packages of some extras."""
    if not names:
        return True
    table = extras(root)
    named = [requirement.partition("==") for name in names for requirement in table[name] if _applies(requirement)]
    return all(_installed((name.partition("[")[0], version.partition(";")[0].strip())) for name, _, version in named)


def pins(root: Path = ROOT) -> dict[str, str]:
    """The packages that every platform and every Python needs, name to version, from requirements.txt."""
    text = (root / "requirements.txt").read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)==([^\s;#]+)[ \t]*(?:#.*)?$", text, re.M))


def extras(root: Path = ROOT) -> dict[str, list[str]]:
    """The optional groups of packages, name to requirements, from pyproject.toml.

    Python 3.10 has no TOML parser, but a TOML table of lists of strings happens to be Python, too.
    """
    text = (root / "pyproject.toml").read_text("utf-8")
    table = re.search(r"^\[project\.optional-dependencies\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)
    if not table:
        return {}
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(table[1]).body}


# --------------------------------------------------------------------------------------------------- what is there


def usable(extra: Sequence[str] = (), root: Path = ROOT) -> Path | None:
    """A Python that is here and has every package of the course and of the extras, or None."""
    venv = root / ".venv"
    inside = os.path.realpath(sys.prefix) == os.path.realpath(venv)
    if not inside and _at_hand(extra, root):
        return Path(sys.executable)
    return venv / "bin" / "python" if _is_ready(venv, extra, root) else None


def _prefix(python: Path) -> Path:
    return Path(sys.prefix) if python == Path(sys.executable) else python.parent.parent


def _at_hand(extra: Sequence[str], root: Path) -> bool:
    """Whether the running Python already has every package."""
    return all(map(_installed, pins(root).items())) and has(*extra, root=root)


def _applies(requirement: str) -> bool:
    """Whether a requirement is one of this machine and this Python."""
    marker = requirement.partition(";")[2]
    if not marker:
        return True
    try:
        from packaging.markers import Marker
    except ImportError:
        return False  # a Python that is not the course's; that it lacks other packages is enough to know
    return Marker(marker.strip()).evaluate()


def _installed(pin: tuple[str, str]) -> bool:
    try:
        return metadata.version(pin[0]) == pin[1]
    except metadata.PackageNotFoundError:
        return False


def _is_ready(venv: Path, extra: Sequence[str], root: Path) -> bool:
    state = _read(venv / READY)
    try:
        if state["requirements"] != _digest(root) or not _is_whole(venv, state, root):
            return False
        wanted = extras(root) if extra else {}
        return all(state["extras"].get(name) == wanted[name] for name in extra)
    except KeyError:
        return False


def _is_whole(venv: Path, state: dict, root: Path) -> bool:
    """Whether the environment was finished, has not been moved, and its Python is still what it was made with."""
    python = venv / "bin" / "python"
    try:
        if state["root"] != str(root):
            return False
        seen = _identity(python)
        if state["interpreter"] != seen:  # upgraded in place: only another 3.x needs other packages
            if _version(python)[:2] != state["python"][:2]:
                return False
            with contextlib.suppress(OSError):
                _write(venv / READY, {**state, "interpreter": seen})
        return True
    except (OSError, KeyError, subprocess.SubprocessError):
        return False


def _digest(root: Path) -> str:
    return hashlib.sha256((root / "requirements.txt").read_bytes()).hexdigest()


def _identity(python: Path) -> list:
    """What tells an interpreter from another one at the same place, without starting it."""
    program = os.path.realpath(python)
    status = os.stat(program)
    return [program, status.st_size, int(status.st_mtime)]


def _version(python: Path) -> list[int]:
    ask = "import sys; print(*sys.version_info[:3])"
    answer = subprocess.run([python, "-I", "-S", "-c", ask], capture_output=True, check=True, text=True)
    return [int(part) for part in answer.stdout.split()]


def _packages(python: Path) -> Path:
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"  # with site: it knows that this is an environment
    answer = subprocess.run([python, "-I", "-c", ask], capture_output=True, check=True, text=True)
    return Path(answer.stdout.strip())


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


# ------------------------------------------------------------------------------------------------------- making it


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[int]:
    """Hold the lock that lets one command at a time work on the environment; its descriptor."""
    with open(root / "pyproject.toml", "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with installing.StatusLine("Course environment") as line:
                line.phase("another command is preparing it; waiting for that one")
                while not _locked(file):
                    time.sleep(0.1)
        except OSError:
            pass  # a file system without locks (some network drives): go on without one
        yield file.fileno()


def _locked(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make(extra: Sequence[str], root: Path, lock: int) -> Path:
    """Bring .venv to what requirements.txt and the extras say, from whatever state it is in; its Python."""
    venv = root / ".venv"
    python = venv / "bin" / "python"
    with _explained(root):
        state = _read(venv / READY)
        ours = (venv / MADE).exists() or (venv.is_dir() and not any(venv.iterdir()))
        if not _is_ready(venv, (), root):
            _check_room(root, NEEDED_MB)
            if not ours and os.path.lexists(venv):
                _check_yours(venv)
                _update(venv, root, lock, yours=True)
            elif ours and _is_whole(venv, state, root):
                _update(venv, root, lock, yours=False)
            else:
                _build(venv, root, lock)
        if extra:
            _install_extras(venv, python, extra, root, lock)
    return python


def _build(venv: Path, root: Path, lock: int) -> None:
    """Make the environment from nothing, and leave nothing if that fails or is interrupted."""
    with installing.StatusLine("Course environment") as line:
        if venv.exists():
            line.phase("removing .venv, which was left unfinished or no longer works")
            _remove(venv)
        try:
            if not _build_with_uv(venv, root, line, lock):
                _begin(venv, line)
                _create(venv, line, lock)
                _check(*_install(venv / "bin" / "python", ["-r", root / "requirements.txt"], line, lock, uv=None))
            _finish(venv, root, {})
        except BaseException as problem:
            if isinstance(problem, (KeyboardInterrupt, SystemExit)):
                line.phase("interrupted; removing the unfinished .venv")
            _remove(venv)
            raise
        line.say(f"Course environment: .venv is ready ({line.elapsed_s:.0f} s).")


def _begin(venv: Path, line: installing.StatusLine) -> None:
    line.phase("creating .venv")
    venv.mkdir()
    _write(venv / MADE, {"by": "python3 -m labsupport"})


def _build_with_uv(venv: Path, root: Path, line: installing.StatusLine, lock: int) -> bool:
    """Whether uv is here and did it all; it does not read pip's settings, so where it fails pip may not."""
    uv = shutil.which("uv")
    if not uv:
        return False
    _begin(venv, line)
    create = [uv, "venv", "--quiet", "--seed", "--allow-existing", "--python", _base_python(), venv]
    status, _printed = installing.run(create, env=_clean_environment(), keep_open=[lock])
    if status == 0:
        python = venv / "bin" / "python"
        status, _printed = _install(python, ["-r", root / "requirements.txt"], line, lock, uv=uv)
    if status != 0:
        line.say("Course environment: uv could not make it; trying with pip.")
        _remove(venv)
    return status == 0


def _create(venv: Path, line: installing.StatusLine, lock: int) -> None:
    command = [_base_python(), "-I", "-m", "venv", venv]
    status, printed = installing.run(command, env=_clean_environment(), keep_open=[lock])
    if status != 0 and re.search(_NO_ENSUREPIP, printed):
        package = "python{}.{}-venv".format(*_version(Path(_base_python())))
        line.phase(f"installing {package}, without which this Python cannot make environments")
        if programs.apt_install([package]):
            line.phase("creating .venv")
            status, printed = installing.run(command, env=_clean_environment(), keep_open=[lock])
        if status != 0 and re.search(_NO_ENSUREPIP, printed):
            raise SetupError(
                "This Python cannot make an environment: its module ensurepip is missing.",
                cause="Debian and Ubuntu keep that module in a package of its own",
                do=f"run `sudo apt-get install {package}`, then run the command again",
            )
    _check(status, printed)


def _check_yours(venv: Path) -> None:
    do = f"rename or remove it (`mv {venv} {venv}-old`), then run the command again"
    try:
        version = _version(venv / "bin" / "python")
    except (OSError, subprocess.SubprocessError, ValueError):
        raise SetupError(
            f"{venv} is not a working Python environment, and the course did not make it.",
            cause="something else made it, or its Python was removed",
            do=do,
        ) from None
    if version[:2] < [3, 10]:
        raise SetupError(
            f"{venv}, which the course did not make, has Python {version[0]}.{version[1]}.",
            cause="the course needs Python 3.10 or newer",
            do=do,
        )


def _update(venv: Path, root: Path, lock: int, *, yours: bool) -> None:
    """Install what requirements.txt says into an environment that works."""
    with installing.StatusLine("Course environment") as line:
        if yours:
            line.say(f"Course environment: you made {venv} yourself; what is missing is installed into it.")
        again = ["--force-reinstall"] if (venv / UNFINISHED).exists() else []
        installed = _read(venv / READY).get("extras", {})
        _write(venv / UNFINISHED, {})
        (venv / READY).unlink(missing_ok=True)
        _check(*_install(venv / "bin" / "python", [*again, "-r", root / "requirements.txt"], line, lock))
        _finish(venv, root, installed)
        (venv / UNFINISHED).unlink(missing_ok=True)
        line.say(f"Course environment: .venv is up to date ({line.elapsed_s:.0f} s).")


def _install_extras(venv: Path, python: Path, names: Sequence[str], root: Path, lock: int) -> None:
    """Add extras beside what is there; nothing of what is there changes its version."""
    table = extras(root)
    state = _read(venv / READY)
    names = [name for name in names if state.get("extras", {}).get(name) != table[name]]
    if not names:
        return
    _check_room(root, NEEDED_FOR_SPARK_MB if "spark" in names else 300)
    title = f"Packages for {', '.join(names)}" if len(names) < 4 else f"Packages of {len(names)} extras"
    with installing.StatusLine(title) as line:
        cut_off = set(_read(venv / UNFINISHED).get("extras", ()))
        again = ["--force-reinstall"] if cut_off & set(names) else []
        _write(venv / UNFINISHED, {"extras": sorted(cut_off | set(names))})
        requirements = [requirement for name in names for requirement in table[name]]
        _check(*_install(python, [*again, "-c", root / LOCKED_EXTRAS, *requirements], line, lock))
        if state:
            _finish(venv, root, {**state["extras"], **{name: table[name] for name in names}})
        if cut_off - set(names):
            _write(venv / UNFINISHED, {"extras": sorted(cut_off - set(names))})
        else:
            (venv / UNFINISHED).unlink(missing_ok=True)
        line.say(f"{title}: installed ({line.elapsed_s:.0f} s).")


def _install(
    python: Path, words: Sequence[str | Path], line: installing.StatusLine, lock: int, uv: str | None = ""
) -> tuple[int, str]:
    """Run `pip install`, or uv's, with progress; (exit status, what it printed)."""
    uv = shutil.which("uv") if uv == "" else uv
    packages = _packages(python)
    before = _count(packages)
    seen: set[str] = set()
    of_about = f" of about {_expected(words[-1])}" if "-r" in words else ""
    unpacking = False

    def on_line(text: str) -> None:
        nonlocal unpacking
        if found := re.match(r"\s*Collecting ([\w.-]+)", text):
            seen.add(found[1])
            line.detail(f"{found[1]}, package {len(seen)}{of_about}")
        elif text.startswith(("Installing collected", "Prepared ")):
            unpacking = True
            line.phase(f"installing {len(seen)} package{'s' if len(seen) > 1 else ''}" if seen else "installing")

    if uv:
        words = ["--reinstall" if word == "--force-reinstall" else word for word in words]
        command = [uv, "pip", "install", "--python", python, "--no-progress", "--compile-bytecode", *words]
        line.phase("downloading and installing with uv")
    else:
        command = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-user"]
        command += ["--progress-bar", "off", "--no-warn-script-location", *words]
        line.phase("downloading")
    with every(0.5, lambda: unpacking and line.detail(f"({_count(packages) - before} done)")):
        return installing.run(command, on_line=on_line, env=_clean_environment(), keep_open=[lock])


def _finish(venv: Path, root: Path, installed: dict[str, list[str]]) -> None:
    """Let kernels find labsupport, then write down that all is there."""
    python = venv / "bin" / "python"
    (_packages(python) / "labsupport.pth").write_text(f"{root}\n", "utf-8")
    os.sync()  # the marker must not reach the disk before what it vouches for
    state = {
        "requirements": _digest(root),
        "python": _version(python),
        "interpreter": _identity(python),
        "root": str(root),
        "extras": installed,
    }
    _write(venv / READY, state)


def _remove(venv: Path) -> None:
    """Remove an environment of ours, its made marker last, so that a removal cut off is recognised."""
    if venv.is_symlink():
        venv.unlink()  # what it points to is somebody else's
    if not venv.is_dir():
        return
    (venv / READY).unlink(missing_ok=True)
    for entry in sorted(venv.iterdir(), key=lambda path: path.name == MADE):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    venv.rmdir()


def _expected(requirements: Path) -> int:
    """How many packages a lock brings, without those that are for other systems; a few depend on the Python, too."""
    lines = re.findall(r"^([\w.-]+)==(.*)$", requirements.read_text("utf-8"), re.M)
    return len({name for name, rest in lines if not re.search(r"== '(darwin|win32|nt)'|< '3\.1[12]", rest)})


def _count(packages: Path) -> int:
    try:
        return sum(name.endswith(".dist-info") for name in os.listdir(packages))
    except OSError:
        return 0


def _base_python() -> str:
    return (sys.prefix != sys.base_prefix and getattr(sys, "_base_executable", None)) or sys.executable


def _clean_environment() -> dict[str, str]:
    """Our environment without what would send packages elsewhere."""
    away = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_COMPILE"}
    return {name: value for name, value in os.environ.items() if name not in away} | {"PYTHONUNBUFFERED": "1"}


# ------------------------------------------------------------------------------------------------------ what failed


def _check_room(root: Path, needed_mb: int) -> None:
    free_mb = shutil.disk_usage(root).free // 1_000_000
    if free_mb < needed_mb:
        raise SetupError(
            f"There is too little disk space for the course's packages: {free_mb} MB free, {needed_mb} MB needed.",
            cause=f"the disk that holds {root} is nearly full",
            do="free some space, then run the command again",
        )


def _check(status: int, printed: str) -> None:
    """Explain a failed installation from what was printed."""
    if status == 0:
        return
    lines = [text.strip() for text in printed.splitlines() if text.strip()] or ["it printed nothing"]
    known = next(((cause, do) for pattern, cause, do in _REASONS if re.search(pattern, printed)), None)
    if known is None:
        sys.stderr.write("\n".join(lines[-15:]) + "\n")
        errors = [text for text in lines if text.lower().startswith("error")] or lines
        known = errors[-1], "read the lines above, then run the command again"
    raise SetupError("The course's packages could not be installed.", cause=known[0], do=known[1])


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Explain what the operating system refused."""
    try:
        yield
    except LabError:
        raise
    except OSError as error:
        for pattern, cause, do in _REASONS:
            if re.search(pattern, str(error)):
                what = f"The course's packages could not be installed in {root}: {error.strerror}."
                raise SetupError(what, cause=cause, do=do.replace("DIRECTORY", str(root))) from error
        raise
