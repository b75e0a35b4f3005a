"""A stand-in for the course: the same package on a tiny requirements.txt, and a package index of this process."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("__init__.py", "__main__.py", "bench.py", "cli.py", "environment", "errors.py", "repeating.py")

# In a script's background job Ctrl-C is ignored, and so it would be in the commands that these tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A command of the stand-in that tells where it runs.
WHERE = """
import sys
import tiny

def rows(quick=False):
    return [{"case": sys.prefix, "value": tiny.VERSION, "unit": "version"}]
"""

# Its systems: none.
SERVICES = {
    "java.py": "SUGGESTED = 17\n\ndef here(*_versions):\n    return None\n",
    "sources.py": "PINS = {}\n",
    "jars.py": "def fetch(*_systems):\n    pass\n",
    "supplies.py": "def announcement(_extras):\n    return ''\n",
}


def wheel(folder: Path, name: str, version: int) -> None:
    """A package of one line."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for path, text in files.items()}
    record = [f"{path},sha256={digests[path].decode().rstrip('=')},{len(text)}" for path, text in files.items()]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))


class Index(http.server.ThreadingHTTPServer):
    """A package index on the loopback address; `hold` lets a download begin and not end."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.downloads: list[str] = []
        self.asked = threading.Event()  # a download has begun
        self.may_end = threading.Event()
        self.may_end.set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple/"

    def hold(self) -> None:
        self.asked.clear()
        self.may_end.clear()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        index: Index = self.server
        name = self.path.strip("/").split("/")[-1]
        if self.path.startswith("/simple/"):
            links = (f'<a href="/files/{p.name}">{p.name}</a>' for p in index.folder.glob(f"{name}-*.whl"))
            return self._answer("".join(links).encode(), "text/html")
        index.downloads.append(name)
        index.asked.set()
        index.may_end.wait()
        return self._answer((index.folder / name).read_bytes(), "application/octet-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        try:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the installer was killed
            self.close_connection = True

    def log_message(self, *_words) -> None:
        pass


class Course:
    """A directory with the commands of the course and two packages, `tiny` and the extra `more`."""

    def __init__(self, root: Path, index: Index) -> None:
        self.root, self.index = root, index
        self.venv = root / ".venv"
        for part in PARTS:
            source, target = ROOT / "labsupport" / part, root / "labsupport" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "everything.txt"))
            else:
                shutil.copy(source, target)
        (root / "pyproject.toml").write_text('[project.optional-dependencies]\nmore = ["more==1"]\n', "utf-8")
        (root / "labsupport" / "environment" / "everything.txt").write_text("tiny==1\nmore==1\n", "utf-8")
        self.require("tiny==1")
        (root / "tests" / "bench").mkdir(parents=True)
        (root / "tests" / "bench" / "bench_where.py").write_text(WHERE, "utf-8")
        (root / "empty").mkdir()
        (root / "temporary").mkdir()
        (root / "labsupport" / "services").mkdir()
        for name, text in SERVICES.items():
            (root / "labsupport" / "services" / name).write_text(text, "utf-8")

    def require(self, *lines: str) -> None:
        (self.root / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")

    @property
    def variables(self) -> dict[str, str]:
        """Nothing of this machine: no apt-get, no uv, no settings of pip, no index but ours."""
        return {
            "PATH": str(self.root / "empty"),
            "HOME": str(self.root / "empty"),
            "TMPDIR": str(self.root / "temporary"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index.url,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_RETRIES": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self, *words: str, python: str | Path = sys.executable, **variables: str) -> subprocess.Popen:
        return subprocess.Popen(
            [python, self.root / "labsupport", *words],
            env=self.variables | variables,
            cwd=self.root / "empty",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more) -> subprocess.CompletedProcess:
        process = self.start(*words, **more)
        printed, said = process.communicate(timeout=240)
        return subprocess.CompletedProcess(words, process.returncode, printed, said)


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    wheel(folder, "tiny", 1)
    wheel(folder, "tiny", 2)
    wheel(folder, "more", 1)
    server = Index(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.may_end.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def course(tmp_path, index):
    return Course(tmp_path / "the course", index)
