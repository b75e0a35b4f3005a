"""A JupyterLab started by the course's own command on a copy of the course, and a Chromium that opens it.

Run in a pytest process of its own: while playwright's synchronous interface is open, `asyncio.run` fails elsewhere.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",  # a container's root has no other way
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Only what makes a page observable is set here; the rest of the server is as a learner has it.
LAB_CONFIG = "c.LabApp.expose_app_in_browser = True\n"
LAB_SETTINGS = {
    # Render every cell, also far below the window, so that the page can be read and photographed whole.
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    # No "file changed on disk" dialog in the middle of a run.
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}
RACE = """(promise, ms, what) => Promise.race([promise,
    new Promise((_, reject) => setTimeout(() => reject(new Error('timeout: ' + what)), ms))])"""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Address and token of a running ``python3 -m labsupport lab --no-browser``."""
    course, own = tmp_path_factory.mktemp("course") / "course", tmp_path_factory.mktemp("jupyter")
    left_out = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "tests", "lessons/.lab*")
    shutil.copytree(ROOT, course, ignore=left_out)
    (own / "config").mkdir()
    (own / "config" / "jupyter_lab_config.py").write_text(LAB_CONFIG)
    for name, value in LAB_SETTINGS.items():
        file = own / "settings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
        "IPYTHONDIR": str(own / "ipython"),
        "PYTHONUNBUFFERED": "1",
    }
    log = own / "lab.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "labsupport", "lab", "--no-browser"],
            cwd=course,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
        )
        try:
            seen = []
            for line in process.stdout:
                seen.append(line.decode())
                if found := re.search(r"(http://127\.0\.0\.1:\d+/)\S*?token=(\w+)", seen[-1]):
                    yield {"url": found[1], "token": found[2], "course": course}
                    break
            else:
                pytest.fail("no address was printed:\n" + "".join(seen) + log.read_text())
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.stdout.close()


@pytest.fixture(scope="session")
def chromium():
    program = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    assert program, "no Chromium on PATH: install the package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


class NotebookPage:
    """One notebook in the browser, driven through JupyterLab's own commands."""

    def __init__(self, page) -> None:
        self.page = page

    def ready(self) -> None:
        """Wait until the kernel answers: a run started earlier is silently lost."""
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self.page.evaluate(
            f"""async () => {{
                const race = {RACE}, widget = window.jupyterapp.shell.currentWidget;
                await race(widget.context.ready, 60000, 'the document');
                await race(widget.sessionContext.ready, 60000, 'the session');
                await race(widget.sessionContext.session.kernel.info, 60000, 'the kernel');
            }}"""
        )

    def run_all(self, timeout_s: float) -> bool:
        """*Run All Cells*; false when a cell ended in an error."""
        command = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
        return self.page.evaluate(f"async ms => ({RACE})({command}, ms, 'Run All Cells')", timeout_s * 1000)

    def outputs(self) -> list[dict]:
        """Every code cell's id, prompt and outputs as JupyterLab holds them."""
        return self.page.evaluate(
            """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
                .filter(cell => cell.type === 'code')
                .map(cell => ({id: cell.id, count: cell.executionCount, outputs: cell.outputs.toJSON()}))"""
        )

    def close(self) -> None:
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")


@pytest.fixture
def open_notebook(lab, chromium):
    """Open a notebook by name in a fresh page; its kernel is shut down and its console must be clean at the end."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(60_000)
    opened, errors = [], []

    def heard(line) -> None:
        # JupyterLab asks its server for files that may not be there, now and then; what is ours loads nothing.
        if line.type == "error" and not line.text.startswith("Failed to load resource"):
            errors.append(line.text)

    def open_by_name(name: str) -> NotebookPage:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
        page.on("console", heard)
        page.goto(f"{lab['url']}doc/tree/{name}?token={lab['token']}")
        notebook = NotebookPage(page)
        notebook.ready()
        opened.append(notebook)
        return notebook

    yield open_by_name
    for notebook in opened:
        notebook.close()
    context.close()
    assert errors == []


@pytest.fixture
def screenshot(tmp_path_factory):
    """Keep a picture of a page where LAB_SCREENSHOTS says, or in pytest's temporary directory."""
    folder = pathlib.Path(os.environ.get("LAB_SCREENSHOTS") or tmp_path_factory.getbasetemp() / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)

    def take(page, name: str) -> pathlib.Path:
        page.screenshot(path=folder / f"{name}.png")
        return folder / f"{name}.png"

    return take
