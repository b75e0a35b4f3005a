"""The same workloads in the simulated world: virtual time, all faults, and the same again from a seed."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from labsupport.faults import Faults, Partition
from labsupport.workloads import Setting
from labsupport.workloads.simulated import simulate

FILE = pathlib.Path(__file__).parent / "nodes" / "gossip.py"
SETTING = Setting(nodes=("n1", "n2", "n3"), concurrency=3, seed=4)
PARTED = Faults(plan=[Partition([["n1"]], at_s=1.0, for_s=5.0)])


@pytest.fixture(scope="module")
def gossip():
    spec = importlib.util.spec_from_file_location("gossip", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_broadcast_that_sends_again_holds_in_partitions_and_one_that_does_not_loses(gossip):
    good = simulate(gossip.SavesAll, "broadcast", SETTING, faults=PARTED)
    assert good, good.finding
    assert good.finding.details["elements"] > 20
    bad = simulate(gossip.SendsOnce, "broadcast", SETTING, faults=PARTED)
    assert not bad and "missing" in bad.finding.names


def test_a_broadcast_that_saves_holds_in_crashes_with_loss_and_duplicates(gossip):
    faults = Faults(loss=0.1, duplicate=0.1, crashes_per_s=1.0, partitions_per_s=0.5)
    assert simulate(gossip.SavesAll, "broadcast", SETTING, faults=faults, rate=20)


def test_the_same_seed_gives_the_same_run(gossip):
    runs = [simulate(gossip.SavesAll, "broadcast", SETTING, faults=PARTED) for _ in range(2)]
    assert runs[0].world.trace.digest() == runs[1].world.trace.digest()
    assert len(runs[0].history) > 50
