"""A node class as a Maelstrom node: one process with three streams, as Maelstrom starts it; and what it saves."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from labsupport.cluster.disk import Disk

ROOT = pathlib.Path(__file__).resolve().parents[2]
INIT = {"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1", "n2", "n3"]}
NODES = str(ROOT / "tests" / "cluster" / "nodes.py")


def run(*argv, bodies=(), source="c1", cwd=None):
    """What a node answers to some bodies: the bodies it sends by receiver, its standard error, its exit status."""
    lines = "".join(json.dumps({"src": source, "dest": "n1", "body": body, "id": 3}) + "\n" for body in bodies)
    done = subprocess.run(
        [sys.executable, "-m", "labsupport.cluster.run", *argv],
        input=lines,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        timeout=60,
        check=False,
    )
    sent = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(message["src"] == "n1" for message in sent)
    return [(message["dest"], message["body"]) for message in sent], done.stderr, done.returncode


@pytest.mark.parametrize("named", [f"{NODES}:Everything", "tests.cluster.nodes:Everything"], ids=["file", "module"])
def test_a_class_is_a_maelstrom_node_wherever_it_is_started(named, tmp_path):
    sent, log, status = run(named, bodies=[INIT, {"type": "echo", "echo": "hi", "msg_id": 9}], cwd=tmp_path)
    assert sent == [
        ("c1", {"type": "init_ok", "in_reply_to": 1}),
        ("c1", {"type": "echo_ok", "in_reply_to": 9, "echo": "hi"}),
    ]
    assert "this goes to the log" in log and 'n1 alive {"life":1}' in log
    assert status == 0


def test_null_fields_are_absent_fields_and_late_answers_are_dropped():
    sent, _, status = run(
        f"{NODES}:Everything",
        bodies=[
            INIT,
            {"type": "echo", "echo": "a", "msg_id": None, "in_reply_to": None},
            {"type": "echo_ok", "echo": "late", "in_reply_to": 99},
        ],
    )
    assert sent[1:] == [("c1", {"type": "echo_ok", "echo": "a"})] and status == 0


def test_odd_bodies_are_refused_and_the_node_goes_on():
    sent, _, status = run(
        f"{NODES}:Everything",
        bodies=[
            INIT,
            {"type": ["echo"], "msg_id": 2},
            {"msg_id": 3},
            {"type": "echo", "msg_id": 4},
            {"type": "echo_ok", "msg_id": 5},
            {"type": "echo_ok", "in_reply_to": [1]},
            {"type": "echo", "echo": "still here", "msg_id": 6},
        ],
    )
    assert [(body["in_reply_to"], body.get("code")) for _, body in sent[1:]] == [
        (2, 10), (3, 10), (4, 12), (5, 10), (6, None),
    ]  # fmt: skip
    assert status == 0


def test_what_comes_before_init_waits_for_it():
    sent, _, _ = run(f"{NODES}:Everything", bodies=[{"type": "echo", "echo": "early", "msg_id": 5}, INIT])
    assert [body["type"] for _, body in sent] == ["init_ok", "echo_ok"]


def test_a_peer_that_sends_what_nobody_handles_has_found_a_mistake():
    _, log, status = run(f"{NODES}:Everything", bodies=[INIT, {"type": "echo_ok", "echo": "x"}], source="n2")
    assert status == 1 and "n1 received EchoOk(echo='x') from n2, and Everything has no handler for it" in log


def test_an_exception_ends_the_process_with_a_report():
    sent, log, status = run(
        f"{NODES}:Everything", bodies=[INIT, {"type": "fail"}, {"type": "echo", "echo": "x", "msg_id": 3}]
    )
    assert (len(sent), status) == (1, 1)
    assert log.rstrip().endswith("n1 raised ZeroDivisionError('on purpose'), and that ended its process.")


def test_a_disk_is_kept_where_it_is_named(tmp_path):
    for life in (1, 2):
        sent, _, _ = run(f"{NODES}:Everything", "--disk", str(tmp_path), bodies=[INIT, {"type": "count", "msg_id": 2}])
        assert sent[1][1]["lives"] == life
    assert [path.name for path in tmp_path.iterdir()] == ["n1.journal"]


@pytest.mark.parametrize("named", ["nowhere:Nothing", "labsupport.node:Nothing", "/no/such/file.py:Nothing", "Nothing"])
def test_a_class_that_is_not_there(named):
    _, log, status = run(named)
    assert status == 1 and log.startswith("There is no class to run under") and "Traceback" not in log


def test_a_line_that_was_cut_short_was_not_saved(tmp_path):
    path = tmp_path / "n1.journal"
    Disk(path).save({"term": 1, "log": [1, 2]})
    Disk(path).save({"term": 2})
    whole = path.read_bytes()
    for cut in range(1, len(whole) - whole.index(b"\n")):
        path.write_bytes(whole[:-cut])
        assert Disk(path) == {"term": 1, "log": [1, 2]}
        Disk(path).save({"vote": "n2"})
        assert Disk(path) == {"term": 1, "log": [1, 2], "vote": "n2"}


def test_a_journal_is_written_anew_when_it_has_grown(tmp_path, monkeypatch):
    monkeypatch.setattr("labsupport.cluster.disk.COMPACT_BYTES", 2000)
    disk = Disk(tmp_path / "n1.journal")
    for number in range(1000):
        disk.save({"number": number, "text": "x" * 50})
    assert Disk(tmp_path / "n1.journal") == disk == {"number": 999, "text": "x" * 50}
    assert (tmp_path / "n1.journal").stat().st_size < 3000
    assert len(list(tmp_path.iterdir())) == 1


NOTEBOOK = """
import linecache
from labsupport.cluster.cluster import Cluster
from labsupport.cluster.report import NodeCrashed

cell = '''
from labsupport import Node, message
@message
class Divide:
    by: int
@message
class Quotient:
    value: float
factor = 10
class Divider(Node):
    def on_divide(self, message, sender, ctx):
        ctx.reply(message, Quotient(factor / message.by))
'''
linecache.cache["cell 1"] = (len(cell), None, cell.splitlines(True), "cell 1")
exec(compile(cell, "cell 1", "exec"))
with Cluster(Divider, nodes=2) as cluster:
    print(cluster.client().rpc("n2", Divide(4), 60)["value"])
    try:
        cluster.client().rpc("n1", Divide(0), 60)
    except NodeCrashed as crashed:
        print(crashed)
"""


def test_a_class_of_a_notebook_is_shipped_with_its_messages_and_its_lines():
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("2.5\n"), done.stderr
    assert 'File "cell 1", line 12, in on_divide' in done.stdout
    assert "ctx.reply(message, Quotient(factor / message.by))" in done.stdout
