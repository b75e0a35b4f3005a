"""Where namespaces are refused, as in a container: what root's grader still shuts in, and that nothing is left."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from labsupport.grading import sandbox
from labsupport.grading.execution import Kernel

UID = sandbox.FIRST_UID + sandbox.USERS  # beyond those that graders take

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        open("started", "w").close()
        time.sleep(600)
    os._exit(0)
while not os.path.exists("started"):
    time.sleep(0.01)
"""


@pytest.fixture
def refused(monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root can make submitted code another user")
    monkeypatch.setattr(sandbox, "_user", lambda isolated: UID)
    with sandbox.Sandbox(isolated=False) as box:
        yield box
    assert not box._home.exists()


def shown(told) -> str:
    assert not told["failed"], told["failed"]
    return told["outputs"][-1]["data"]["text/plain"]


def running() -> list[int]:
    return [one.pid for one in psutil.process_iter(["uids", "status"]) if one.info["uids"].real == UID and _runs(one)]


def _runs(process: psutil.Process) -> bool:
    return process.info["status"] != psutil.STATUS_ZOMBIE


def test_code_is_a_user_of_its_own_that_cannot_touch_the_graders_files(refused, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "results.json").write_text("kept")
    write = (
        f"try:\n    open({str(tmp_path / 'results.json')!r}, 'w')\nexcept PermissionError:\n    said = 'refused'\nsaid"
    )
    with refused.cell() as cell, Kernel(cell, 20) as kernel:
        assert shown(kernel.run("x", "import os; open('own', 'w').write('x'); os.getresuid()")) == str((UID,) * 3)
        assert shown(kernel.run("x", write)) == "'refused'"
    assert (tmp_path / "results.json").read_text() == "kept"


def test_a_process_that_has_left_its_group_and_session_ends_with_the_cell(refused):
    with refused.cell() as cell, Kernel(cell, 20) as kernel:
        kernel.run("x", DAEMON)
        assert running()
    deadline = time.monotonic() + 20
    while running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running() == []
