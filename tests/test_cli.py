"""Every command answers with an exit status that a script can use, and with sentences when it cannot go on."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from labsupport import __main__, cli, environment
from labsupport.errors import SetupError
from labsupport.services import jars, java, sources

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fetched(monkeypatch):
    """The systems whose JARs would be fetched."""
    systems = []
    monkeypatch.setattr(jars, "fetch", lambda *names: systems.extend(names))
    return systems


@pytest.fixture
def entered(monkeypatch, fetched):
    """The environment is taken for ready; what each command asked of it."""
    asked = []
    monkeypatch.setattr(environment, "enter", lambda argv, **needs: asked.append((list(argv), needs)))
    return asked


@pytest.fixture
def runs(monkeypatch):
    """pytest is not started; its arguments, and the statuses that it will answer with."""
    calls, statuses = [], []

    def call(command, cwd):
        calls.append([word.replace(f"{ROOT}/", "") for word in command[3:]])
        return statuses.pop(0) if statuses else 0

    monkeypatch.setattr(subprocess, "call", call)
    return calls, statuses


# ------------------------------------------------------------------------------------------------- before it can run


@pytest.mark.parametrize("file", ["__main__.py", "__init__.py"])
def test_old_pythons_can_read_what_they_need_to_say_that_they_are_too_old(file):
    ast.parse((ROOT / "labsupport" / file).read_text("utf-8"), feature_version=(3, 6))
    assert "from __future__ import annotations" not in (ROOT / "labsupport" / file).read_text("utf-8")


@pytest.mark.parametrize(
    ("platform", "newer", "todo"),
    [
        ("linux", None, "install Python 3.10 or newer (`sudo apt-get install python3 python3-venv`"),
        ("darwin", None, "run `brew install python@3.13`, then `python3.13 -m labsupport lab`"),
        ("linux", "python3.12", "run `python3.12 -m labsupport lab`."),
    ],
)
def test_an_old_python_says_what_to_run_instead(platform, newer, todo, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["labsupport"])
    what, cause, do = __main__.cannot_start((3, 9, 18), "posix", platform, lambda: newer).splitlines()
    assert what == "The course needs Python 3.10 or newer, and this is Python 3.9."
    assert cause.startswith("Likely cause: ")
    assert do.startswith(f"What to do: {todo}")


def test_windows_is_told_about_wsl(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["labsupport", "test"])
    said = __main__.cannot_start((3, 13), "nt", "win32", lambda: None)
    assert "WSL 2" in said
    assert said.endswith("run `python3 -m labsupport test` in it.")


def test_a_python_that_will_do_is_let_through():
    assert __main__.cannot_start((3, 10, 0), "posix", "linux", lambda: None) is None


def test_a_newer_python_is_only_named_if_it_starts(tmp_path, monkeypatch):
    for name, status in (("python3.14", 127), ("python3.11", 0), ("python3.9", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert __main__.newer_python() == "python3.11"


@pytest.mark.parametrize("how", [["-m", "labsupport"], [str(ROOT / "labsupport")]], ids=["-m", "directory"])
def test_help_needs_no_environment(how, tmp_path):
    # -I -S: no installed package can be seen, and the module is found by the directory only.
    command = [sys.executable, *(["-S"] if how[0] == "-m" else ["-I", "-S"]), *how, "--help"]
    shown = subprocess.run(command, cwd=ROOT if how[0] == "-m" else tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0
    for name in ("lab", "test", "doctor", "release", "progress", "bench", "up", "down", "fetch"):
        assert f"\n    {name} " in shown.stdout


# ------------------------------------------------------------------------------------------------------ the commands


def test_an_error_is_three_lines_and_status_2(monkeypatch, capsys):
    def refuse(*_words, **_needs):
        raise SetupError("This broke.", cause="that", do="do this")

    monkeypatch.setattr(environment, "enter", refuse)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr() == ("", "This broke.\nLikely cause: that\nWhat to do: do this\n")


def test_ctrl_c_is_one_line_and_status_130(monkeypatch, capsys):
    def interrupt(*_words, **_needs):
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "enter", interrupt)
    assert cli.main(["lab"]) == 130
    assert capsys.readouterr() == ("", "Stopped.\n")


@pytest.mark.parametrize("words", [["lab", "--colour"], ["paint"], []])
def test_a_command_that_does_not_exist_shows_the_usage(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert capsys.readouterr().err.startswith("usage: python3 -m labsupport")


def test_the_suite_runs_in_two_processes_and_the_worse_status_counts(entered, runs):
    calls, statuses = runs
    statuses += [0, 1]
    assert cli.main(["test"]) == 1
    assert calls == [["--ignore=tests/browser"], ["tests/browser"]]
    assert {"dev", "kafka", "zookeeper"} <= set(entered[0][1]["extra"])
    assert entered[0][1]["insist"]

    statuses += [1, 0]
    assert cli.main(["test"]) == 1


def test_arguments_go_to_one_run_of_pytest_with_paths_from_where_they_were_typed(entered, runs, monkeypatch):
    calls, _statuses = runs
    monkeypatch.chdir(ROOT / "tests")
    assert cli.main(["test", "-k", "environment", "test_cli.py"]) == 0
    assert cli.main(["test", "test_cli.py::test_help_needs_no_environment", "-x"]) == 0
    assert cli.main(["test", "browser"]) == 0
    assert calls == [
        ["--ignore=tests/browser", "-k", "environment", "tests/test_cli.py"],
        ["--ignore=tests/browser", "tests/test_cli.py::test_help_needs_no_environment", "-x"],
        ["tests/browser"],
    ]


def test_fetch_says_how_much_and_asks_for_every_extra_and_every_program(entered, fetched, monkeypatch, capsys):
    monkeypatch.setattr(environment, "has", lambda *names: False)
    assert cli.main(["fetch"]) == 0
    assert "to download" in capsys.readouterr().err
    needs = entered[0][1]
    assert set(needs["extra"]) | {"jre"} == set(environment.extras())
    assert ("jre" in needs["extra"]) is (java.here(17, 17) is None), "a second Java is not brought"
    assert fetched == [system for system, pin in sources.PINS.items() if pin.java]
    assert {program.name for program in needs["wanted"]} == {"RabbitMQ", "gearmand", "Thrift compiler", "Chromium"}
