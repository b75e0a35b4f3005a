"""Every lesson runs from its top to its end in a real kernel, as shipped and as solved.

Goal: no learner meets a traceback that is not theirs, and no solution is out of date. Method: testbook executes the
notebook; the verdicts are read from the check cells' own output entry, not from their HTML.
"""

from __future__ import annotations

import contextlib
import pathlib
import time

import nbformat
import psutil
import pytest
from testbook import testbook

from labsupport.view.cards import VERDICT_MIME

ROOT = pathlib.Path(__file__).resolve().parents[2]
GONE_S = 60  # until nothing of a lesson is left, on a busy machine
CELL_S = 180  # the longest a cell may take on a busy machine, a check with several broker restarts

# What the text around a cell says that it shows, by lesson and cell; figures that differ from run to run are not here.
CLAIMS = {
    "00_start_here": {
        "kill-read": ["survived"],
        "kill-two": ["no answer"],
        "world": ["pinger counted total=1"],
        "unlucky": ["lost on the way"],
        "same-seed": ["True"],
        "again-run": ["in 1,000 of 1,000 worlds"],
        "twice-run": ["counted 1: in", "counted 2: in"],
        "doubled": ["counted total=2"],
        "replay": ["pinger"],
        "real-run": ["ponger crashes", "ponger restarts", "pinger counted total=1"],
    },
    "01_why_distributed": {
        "count-run": ["less than 1000"],
        "count-once": ["1000"],
        "silent-run": ["nothing came in"],
        "kill-run": ["300 were answered"],
        "ok-run": ["on 1 of 2 replicas then, and on 2"],
        "wait-run": ["1,917    33.9 ms", "83 of 2,000"],
        "wait-table": ["200 ms     84 of 2,000"],
        "apart-run": ["nothing  {'n2': 8, 'n3': 8, 'n4': 8, 'n5': 8}"],
        "parted-run": ["n3 [10, 30]"],
        "storm": ["messages in 0.0"],
    },
    "02_grpc": {
        "document-run": ["No module named 'github'"],
        "bytes": ["08 96 01", "0a 03 41 64 61"],
        "numbers-run": ["9", "[1, 2, 3]", "6", "[3, 4, 6]"],
        "raise-run": ["1 UNKNOWN", "2 OUT_OF_RANGE"],
        "wire": ["PRI * HTTP/2.0", "/greeter.Greeter/SayHello", "00 00 00 00 05"],
        "gone-run": ["CANCELLED", "caller gone"],
        "interceptor-run": ["lines in the log: 1"],
        "half-run": ["UNAVAILABLE, then", "DEADLINE_EXCEEDED, then DEADLINE_EXCEEDED", "still waiting"],
        "retry-run": ["OK, balance 30"],
        "ways-run": ["UNAVAILABLE    UNAVAILABLE    20", "OK             40", "OK             30"],
        "hops-run": ["back no limit"],
    },
    "03_thrift": {
        "shop": ["Item(sku='book', quantity=300)"],
        "undeclared-run": ["7.0", "CannotCalculate: I can only add", "Internal error", "11.0"],
        "bytes": ["19 bytes", "10 bytes", "36 bytes"],
        "type-run": ["quantity=None", "pieces=300", "Item(title='book', quantity=None)"],
        "late-run": ["find('third') -> second", "done? True"],
        "gone-run": ["DEADLINE_EXCEEDED"],
    },
    "04_nats": {
        "document-run": ["no attribute 'channel'"],
        "late-run": ["['four', 'five']"],
        "drain": ["unsubscribe: 0 of 20", "drain:       20 of 20"],
        "request-run": ["NoRespondersError", "TimeoutError"],
        "dedupe": ["messages in the stream: 4"],
        "again-run": ["order 1 · delivery 2"],
        "clerks-run": ["in the till: 110"],
    },
    "12_work_queues": {
        "left-run": ["0 ready, 1 consumer"],
        "left-close": ["3 ready, 0 consumer"],
        "durable-run": ["jobs: 1 ready", "no queue 'plain'"],
        "kill-table": [
            "ack first   killed before the effect   total  0",
            "ack first   killed after the effect    total  5",
            "ack last    killed before the effect   total  5",
            "ack last    killed after the effect    total 10",
        ],
        "prefetch-run": ["[60, 0]"],
    },
}


@contextlib.contextmanager
def notebook(path: pathlib.Path):
    """The notebook in a fresh kernel, in the lessons' folder.

    testbook's own decorator keeps one notebook object for all runs and leaks the kernel of a failing cell; hence a new
    object each time, executed inside the context. Its argument list must be a new one each time, too.
    """
    with testbook(
        nbformat.read(path, 4),
        execute=False,
        timeout=CELL_S,
        interrupt_on_timeout=True,
        kernel_name="python3",
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(ROOT / "lessons")}},
        extra_arguments=["--log-level=ERROR", "--InteractiveShell.colors=nocolor"],
    ) as book:
        book.execute()
        yield book


def verdicts(book) -> dict[str, dict]:
    """The verdict that each check cell shows, by the cell's id."""
    found = {}
    for cell in book.nb.cells:
        if "check" in cell.metadata.get("tags", []):
            shown = [output.data[VERDICT_MIME] for output in cell.outputs if VERDICT_MIME in output.get("data", {})]
            found[cell.id] = shown[0] if len(shown) == 1 else {"outcome": f"{len(shown)} verdicts"}
    return found


def complaints(book) -> list[str]:
    """What a learner would see in red: errors, and text on the error stream."""
    found = []
    for cell in book.nb.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"{cell.id}: {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr":
                found.append(f"{cell.id}: {output.text}")
    return found


def contradictions(book, name: str) -> list[str]:
    """The claims of the lesson's text that its cells did not bear out."""
    found = []
    for cell_id, claims in CLAIMS[name].items():
        (cell,) = [cell for cell in book.nb.cells if cell.id == cell_id]
        shown = "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        found += [f"{cell_id} shows no {claim!r}: {shown}" for claim in claims if claim not in shown]
    return found


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch, tmp_path):
    """What a lesson starts and writes is gone with its kernel, which the test ends by SIGKILL."""
    monkeypatch.setenv("LAB_PROGRESS_FILE", str(tmp_path / "progress.jsonl"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    yield
    deadline = time.monotonic() + GONE_S
    while (alive := started(scratch)) or any(scratch.iterdir()):
        assert time.monotonic() < deadline, (alive, [path.name for path in scratch.iterdir()])
        time.sleep(0.1)


def started(scratch: pathlib.Path) -> list[psutil.Process]:
    """The processes that were given a directory for temporary files."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(scratch):
                found.append(process)
    return found


def names(folder: str) -> list[pathlib.Path]:
    return sorted((ROOT / folder).glob("*.ipynb"))


@pytest.mark.parametrize("path", names("lessons"), ids=lambda path: path.stem)
def test_a_lesson_runs_as_shipped_with_its_exercises_not_started(path):
    with notebook(path) as book:
        assert complaints(book) == []
        assert contradictions(book, path.stem) == []
        found = verdicts(book)
    assert found
    assert {cell: verdict["outcome"] for cell, verdict in found.items()} == dict.fromkeys(found, "not started")


@pytest.mark.parametrize("path", names("solutions"), ids=lambda path: path.stem)
def test_a_solved_lesson_passes_all_its_checks(path):
    with notebook(path) as book:
        assert complaints(book) == []
        assert contradictions(book, path.stem) == []
        found = verdicts(book)
    assert found
    assert [verdict for verdict in found.values() if verdict["outcome"] != "pass"] == []
