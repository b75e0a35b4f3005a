"""An installer shows where it is, and never outlives the command that started it, unless it must not be cut off."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from labsupport.environment import installing
from tests.services.owners import until

ROOT = Path(__file__).resolve().parents[2]

# A command that starts an installer, which writes a temporary file, starts a process of its own and prints its number.
STARTS = """
from labsupport.environment import installing
script = "mktemp > /dev/null; sleep 3600 & echo $!; wait"
installing.run(["/bin/sh", "-c", script], on_line=lambda line: print(line, flush=True))
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_installer_ends_with_its_command_and_so_does_all_it_started_and_wrote(number, tmp_path):
    command = subprocess.Popen(
        [sys.executable, "-c", STARTS],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    grandchild = int(command.stdout.readline())
    assert list(tmp_path.glob("lab-install-*/*"))
    command.send_signal(number)
    command.communicate(timeout=60)
    until(lambda: not psutil.pid_exists(grandchild), limit_s=60)
    until(lambda: not list(tmp_path.iterdir()), limit_s=60)


def test_an_installer_answers_with_its_status_and_all_it_printed():
    seen = []
    status, printed = installing.run(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], on_line=seen.append)
    assert (status, printed, seen) == (3, "one\ntwo\n", ["one", "two"])


def test_an_installer_holds_the_descriptors_it_is_given(tmp_path):
    with open(tmp_path / "lock", "w") as file:
        number = file.fileno()
        status, _printed = installing.run(["/bin/sh", "-c", f"test -e /dev/fd/{number}"], keep_open=[number])
    assert status == 0


def test_an_uncut_installer_finishes_when_its_command_is_killed(tmp_path):
    go, done = tmp_path / "go", tmp_path / "done"
    starts = f"""
from labsupport.environment import installing
script = "mkfifo {go}; read word < {go}; echo out; echo $word > {done}"
installing.run_uncut(["/bin/sh", "-c", script], lambda process: print(process.pid, flush=True))
"""
    command = subprocess.Popen([sys.executable, "-c", starts], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    installer = int(command.stdout.readline())
    command.kill()
    command.communicate(timeout=60)
    until(go.exists, limit_s=60)
    go.write_text("finished\n")
    until(lambda: not psutil.pid_exists(installer), limit_s=60)
    assert done.read_text() == "finished\n"


def test_on_a_terminal_one_line_is_rewritten_and_cut_to_its_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    with installing.StatusLine("Course environment", screen) as line:
        line.phase("downloading")
        line.detail("jupyterlab, package 57 of a long list")
        line.say("This line stays.")
    shown = screen.getvalue().split("\r\x1b[K")
    assert shown[1].startswith("Course environment: downloading")
    assert shown[2].endswith("…")
    assert len(shown[2]) < 40
    assert screen.getvalue().count("\n") == 1
    assert screen.getvalue().endswith("\r\x1b[K")


def test_in_a_log_each_phase_is_one_line_and_details_are_left_out():
    log = io.StringIO()
    with installing.StatusLine("Course environment", log) as line:
        line.phase("creating .venv")
        line.detail("one of many")
        line.phase("downloading")
        line.phase("downloading")
    assert [text.partition(" (")[0] for text in log.getvalue().splitlines()] == [
        "Course environment: creating .venv",
        "Course environment: downloading",
    ]
