"""JupyterLab on the lessons: started in this process, stopped by Ctrl-C without a question, no kernel left behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from labsupport.errors import SetupError

FIRST_LESSON = "00_start_here.ipynb"
HOST = "127.0.0.1"


def run(root: Path, *, port: int | None = None, browser: bool = True) -> int:
    """Serve `root`/lessons until Ctrl-C; the exit status.

    Args:
        root: the course's directory.
        port: the port to use, or None for the first free one from 8888.
        browser: whether to open a browser, where there is one.
    """
    lessons = root / "lessons"
    if not (lessons / FIRST_LESSON).exists():
        raise SetupError(
            f"{lessons / FIRST_LESSON} is missing.",
            cause="it was moved or removed",
            do="bring it back with `git checkout -- lessons`, or make it with `python3 -m labsupport release`",
        )
    if port is not None:
        _check_free(port)
    prepare(os.environ, root)

    from jupyterlab.labapp import LabApp

    app = LabApp.initialize_server(argv=_settings(lessons, port, browser and _has_screen()))

    def stop(_number, _frame) -> None:
        app.stop(from_signal=True)

    app.log.addFilter(lambda record: "To access the server" not in record.getMessage())  # our own line says it
    # A closed terminal stops the course as Ctrl-C does; kernels end with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    app.io_loop.add_callback(_say_ready, app)
    app.start()
    print("JupyterLab has stopped.")
    return 0


def prepare(environment, root: Path) -> None:
    """Let kernels import labsupport, prefer this environment's kernel to others of its name, ask no question first.

    JupyterLab asks on its first page whether it may fetch news. Defaults of ours answer that it need not; what a
    learner has set still comes first (https://jupyterlab.readthedocs.io/en/stable/user/directories.html).
    """
    for variable, ours in (("PYTHONPATH", root), ("JUPYTER_CONFIG_PATH", Path(__file__).parent / "jupyter")):
        before = environment.get(variable)
        environment[variable] = os.pathsep.join([str(ours), *([before] if before else [])])
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"


def _settings(lessons: Path, port: int | None, browser: bool) -> list[str]:
    settings = {
        "ServerApp.root_dir": lessons,
        "ServerApp.ip": HOST,
        "ServerApp.port": port or 8888,
        "ServerApp.port_retries": 0 if port else 50,
        "ServerApp.open_browser": browser,
        # The page that Jupyter would open instead lies in a hidden directory, where Ubuntu's Firefox may not look.
        "ServerApp.use_redirect_file": False,
        "ServerApp.allow_root": os.geteuid() == 0,
        "ServerApp.answer_yes": True,
        # On a machine with several users, nobody else on it can listen to a kernel; without this, each kernel warns.
        "MappingKernelManager.transport_encryption": "auto",
        "ServerApp.log_level": "WARN",
        "LabApp.log_level": "WARN",
        "LabApp.default_url": f"/lab/tree/{FIRST_LESSON}",
        # No calls home.
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
    }
    if os.access(sys.prefix, os.W_OK):  # which tabs were open here is nothing for the learner's other notebooks
        settings["LabApp.workspaces_dir"] = Path(sys.prefix, "share", "labsupport", "workspaces")
    return [f"--{name}={value}" for name, value in settings.items()]


def _say_ready(app) -> None:
    print(
        f"JupyterLab is ready: {app.connection_url.rstrip('/')}{app.default_url}?token={app.identity_provider.token}\n"
        "Stop it with Ctrl-C.",
        flush=True,
    )


def _check_free(port: int) -> None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except PermissionError as error:
        raise SetupError(f"Port {port} may not be used here: {error.strerror}.", do="use a port above 1023") from None
    except (OSError, OverflowError) as error:
        raise SetupError(
            f"Port {port} cannot be used: {getattr(error, 'strerror', None) or error}.",
            cause="another program, perhaps another JupyterLab, is using it",
            do="leave --port out to take a free one, or name another",
        ) from None


def _has_screen() -> bool:
    """Whether a browser would open in a window; without one, a text browser would take the terminal over."""
    return sys.platform == "darwin" or any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"))
    )
