"""System programs are brought where that may be done, told about where not, and never stop the course.

Goal: the order of apt-get's calls and what a person reads. Method: an `apt-get` of our own, first on PATH, that keeps a
log and answers as the test says.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from labsupport.environment import programs
from labsupport.environment.programs import Program
from labsupport.services import sources

FAKE = """#!{python}
import os, signal, sys, time
here = os.path.dirname(os.path.abspath(__file__))
words = [word for word in sys.argv[1:] if not word.startswith("-") and "Lock" not in word]
with open(os.path.join(here, "log"), "a") as log:
    log.write(" ".join(words) + "\\n")
answers = os.path.join(here, "answers")
if os.path.exists(os.path.join(here, "slow")):
    def stop(*_):
        open(os.path.join(here, "stopped"), "w").close()
        sys.exit(1)
    signal.signal(signal.SIGINT, stop)
    open(os.path.join(here, "running"), "w").close()
    time.sleep(3600)
for line in open(answers) if os.path.exists(answers) else ():
    when, _, says = line.rstrip().partition(": ")
    updated = "update" in open(os.path.join(here, "log")).read()
    if when == " ".join(words) or (when == "before update" and not updated) or (when in words and "install" in words):
        print(says)
        sys.exit(100)
if "install" in words:
    for word in words[1:]:
        open(os.path.join(here, "have-" + word), "w").close()
        os.chmod(os.path.join(here, "have-" + word), 0o755)
"""

ONE = Program("One", ("have-one-server",), apt="one-server", brew="one", unit="one")
TWO = Program("Two", ("have-two-tool",), apt="two-tool", brew="two")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Debian whose apt-get is ours."""
    (tmp_path / "apt-get").write_text(FAKE.format(python=sys.executable))
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(programs, "as_root", lambda: [])
    monkeypatch.setattr(programs, "_SYSTEMD", str(tmp_path / "no systemd"))
    return tmp_path


def log(machine: Path) -> list[str]:
    path = machine / "log"
    return path.read_text().splitlines() if path.exists() else []


def bring(*wanted: Program) -> programs.Bringing:
    with programs.Bringing(wanted) as bringing:
        bringing.finish()
    return bringing


def test_missing_programs_come_in_one_call(machine, capsys):
    assert bring(ONE, TWO).still_missing == []
    assert log(machine) == ["install one-server two-tool"]
    assert capsys.readouterr().err.splitlines()[-1] == "System programs: one-server, two-tool installed by apt-get."


def test_the_list_of_packages_is_updated_only_when_it_is_too_old(machine):
    (machine / "answers").write_text("before update: E: Unable to locate package one-server\n")
    assert bring(ONE).still_missing == []
    assert log(machine) == ["install one-server", "update", "install one-server"]


def test_one_package_that_does_not_exist_keeps_no_other_away(machine, capsys):
    (machine / "answers").write_text("two-tool: E: Package 'two-tool' has no installation candidate\n")
    assert bring(ONE, TWO).still_missing == [TWO]
    said = capsys.readouterr().err
    assert "apt-get could not bring all of them: E: Package 'two-tool' has no installation candidate" in said
    assert "run: sudo apt-get install --no-install-recommends two-tool" in said


def test_where_nobody_may_install_the_one_line_is_shown_and_the_course_goes_on(machine, monkeypatch, capsys):
    monkeypatch.setattr(programs, "as_root", lambda: None)
    assert bring(ONE, TWO).still_missing == [ONE, TWO]
    assert log(machine) == []
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Not on this machine, and some lessons or tests need it: One, Two. "
        "To bring what this system offers, run: sudo apt-get install --no-install-recommends one-server two-tool"
    )


def test_on_a_mac_the_line_is_for_brew(machine, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert programs.install_line([ONE, TWO]) == "brew install one two"


def test_daemons_that_came_with_a_package_are_switched_off_where_systemd_would_run_them(machine, monkeypatch, capsys):
    systemctl = machine / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho systemctl $* >> {machine}/log\n")
    systemctl.chmod(0o755)
    monkeypatch.setattr(programs, "_SYSTEMD", str(machine))
    bring(ONE, TWO)
    assert log(machine) == ["install one-server two-tool", "systemctl disable --now one"]
    assert "one will not run by itself" in capsys.readouterr().err


def test_an_interruption_asks_the_installer_to_stop(machine):
    (machine / "slow").touch()
    ended = threading.Event()
    with pytest.raises(KeyboardInterrupt), programs.Bringing([ONE]) as bringing:
        threading.Thread(target=lambda: (bringing._thread.join(), ended.set()), daemon=True).start()
        while not (machine / "running").exists():
            assert not ended.wait(0.02)
        raise KeyboardInterrupt
    assert ended.wait(timeout=60)
    assert (machine / "stopped").exists()
    assert log(machine) == ["install one-server"]  # nothing else is tried after that


def test_what_did_not_come_is_not_tried_at_every_start(tmp_path):
    assert programs.worth_trying([ONE], tmp_path)
    programs.remember([ONE], tmp_path)
    assert not programs.worth_trying([ONE], tmp_path)
    assert programs.worth_trying([ONE, TWO], tmp_path)
    programs.remember([], tmp_path)
    assert programs.worth_trying([ONE], tmp_path)


def test_a_program_is_found_where_an_ordinary_path_does_not_look(machine, monkeypatch):
    (machine / "have-one-server").touch(mode=0o755)
    monkeypatch.setenv("PATH", "")
    assert ONE.find() is None
    monkeypatch.setattr(programs, "_ALSO_LOOK_IN", (str(machine),))
    assert ONE.find() == str(machine / "have-one-server")


def test_the_two_tables_of_packages_agree():
    pin = sources.PINS["rabbitmq"]
    assert (programs.RABBITMQ.apt, programs.RABBITMQ.brew) == (pin.apt, pin.brew)
