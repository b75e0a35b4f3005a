"""JupyterLab opens on the first lesson, keeps strangers out, and leaves no kernel behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from labsupport.environment import lab
from labsupport.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind((lab.HOST, 0))
        return probe.getsockname()[1]


@pytest.fixture
def started(tmp_path, free_port):
    """(process, address of its first page): the real command, as a person gives it."""
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")},
        "HOME": str(tmp_path),
        "PATH": os.path.dirname(sys.executable),  # nothing that could install anything
    }
    command = [sys.executable, "-m", "labsupport", "lab", "--no-browser", "--port", str(free_port)]
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        ready = process.stdout.readline()
        assert ready.startswith("JupyterLab is ready: http")
        yield process, ready.split()[-1]
        process.kill()


def ask(address: str, path: str, body: bytes | None = None):
    base, _, token = address.partition("/lab")
    request = urllib.request.Request(f"{base}{path}", body, {"Authorization": f"token {token.partition('=')[2]}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


def test_it_serves_the_lessons_to_the_one_who_has_the_token_and_stops_without_a_question(started):
    process, address = started
    assert f"/lab/tree/{lab.FIRST_LESSON}?token=" in address

    assert json.loads(ask(address, "/api/status"))["kernels"] == 0
    assert lab.FIRST_LESSON in {entry["name"] for entry in json.loads(ask(address, "/api/contents"))["content"]}
    assert '"news": {"disabled": true}' in ask(address, "/lab")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask("=".join([address.partition("=")[0], "guessed"]), "/api/status")

    ask(address, "/api/kernels", b"{}")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert printed.splitlines()[-1] == "JupyterLab has stopped."
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_a_port_that_is_taken_is_said_before_anything_starts():
    with socket.socket() as taken:
        taken.bind((lab.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"Port {port} cannot be used") as caught:
            lab.run(ROOT, port=port)
    assert "leave --port out" in caught.value.do


def test_a_port_that_does_not_exist_is_said():
    with pytest.raises(SetupError, match="Port 70000 cannot be used"):
        lab.run(ROOT, port=70000)


def test_a_missing_first_lesson_is_said(tmp_path):
    with pytest.raises(SetupError, match=lab.FIRST_LESSON):
        lab.run(tmp_path)


def test_kernels_find_the_package_before_anything_else_on_their_path():
    variables = {"PYTHONPATH": "/elsewhere"}
    lab.prepare(variables, Path("/course"))
    assert variables["PYTHONPATH"] == f"/course{os.pathsep}/elsewhere"


@pytest.mark.parametrize(("user", "allowed"), [(0, "True"), (1000, "False")])
def test_only_root_is_let_run_it_as_root(user, allowed, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    settings = dict(word.removeprefix("--").split("=", 1) for word in lab._settings(ROOT, None, False))
    assert settings["ServerApp.allow_root"] == allowed
    assert settings["ServerApp.ip"] == "127.0.0.1"
    assert "IdentityProvider.token" not in settings  # the token stays Jupyter's own, drawn at each start
