"""Nothing of a cluster survives its owner, however that ends."""

from __future__ import annotations

import pathlib

import pytest

from tests.services.owners import Owner, leftovers, processes_of, until, wait_until_nothing_is_left

LIMIT_S = 30.0
START = """
from labsupport.cluster.cluster import Cluster
from tests.cluster.nodes import Everything
cluster = Cluster(Everything, nodes=3)
"""


@pytest.mark.parametrize(
    "code", ["tell('up'); time.sleep(600)", "cluster.pause('n2'); tell('up'); time.sleep(600)"], ids=["runs", "paused"]
)
def test_processes_and_files_die_with_their_owner(code, tmp_path):
    with Owner(tmp_path, f"{START}\ncluster.start(); {code}") as owner:
        owner.hear()
        assert len(processes_of(tmp_path)) >= 3 + 2
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


@pytest.mark.parametrize("ending", ["sys.exit()", "1 / 0", "os._exit(3)"])
def test_an_owner_that_forgets_its_cluster_leaves_nothing(ending, tmp_path):
    with Owner(
        tmp_path, f"{START}\ncluster.start(); tell('up'); sys.stderr = open(os.devnull, 'w'); {ending}"
    ) as owner:
        owner.hear()
        owner.process.wait(60)
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_an_exception_inside_the_with_leaves_nothing_although_the_owner_lives(tmp_path):
    code = """
try:
    with cluster:
        1 / 0
except ZeroDivisionError:
    tell('over')
    time.sleep(600)
"""
    with Owner(tmp_path, f"{START}\n{code}") as owner:
        owner.hear()
        until(lambda: not [name for name in leftovers(tmp_path) if "cluster" in name], LIMIT_S)


@pytest.mark.parametrize("after_ms", [1, 30, 120])
def test_a_kill_in_the_middle_of_the_start_leaves_nothing(after_ms, tmp_path):
    kill = f"threading.Timer({after_ms / 1000}, os.kill, [os.getpid(), 9]).start()"
    with Owner(tmp_path, f"{START}\ntell('now'); {kill}; cluster.start(); time.sleep(600)") as owner:
        owner.hear()
        owner.process.wait(60)
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_what_a_node_has_started_in_its_group_dies_with_it(tmp_path):
    script = pathlib.Path(tmp_path / "parent.sh")
    echo = pathlib.Path(__file__).resolve().parent / "programs" / "echo.py"
    script.write_text(f"#!/bin/sh\nsleep 600 &\nexec python3 {echo}\n")
    script.chmod(0o700)
    code = f"""
from labsupport.cluster.cluster import Cluster
cluster = Cluster({str(script)!r}, nodes=2).start()
tell('up')
cluster.kill('n1')
cluster.stop()
tell('over')
time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        assert (owner.hear(), owner.hear()) == ("up", "over")
        until(lambda: not [name for name in leftovers(tmp_path) if "sleep" in name or "cluster" in name], LIMIT_S)
