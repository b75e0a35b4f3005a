"""The simulated world: its faults do what they say, and one seed is one run."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from labsupport.errors import LearnerError
from labsupport.faults import Crash, Faults, Link, Partition, Pause
from labsupport.messages import message
from labsupport.node import Node
from labsupport.sim.world import World

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@message
class Tick:
    number: int


class Sender(Node):
    """Sends a hundred numbered messages, one every 10 ms, and counts what comes in."""

    def on_start(self, ctx):
        self.number, self.got = 0, []
        if ctx.me == "n1":
            ctx.set_timer("next", 0.01)

    def on_timer(self, name, ctx):
        self.number += 1
        ctx.send("n2", Tick(self.number))
        if self.number < 100:
            ctx.set_timer("next", 0.01)

    def on_tick(self, message, sender, ctx):
        self.got.append((message.number, ctx.now()))


def received(faults, **options):
    world = World(Sender, nodes=2, seed=3, faults=faults, **options)
    world.run()
    return [number for number, _ in world["n2"].got], world


def test_without_faults_everything_arrives_in_order_and_once():
    assert received(Faults(link=Link(delay_ms=1)))[0] == list(range(1, 101))


def test_loss_loses_about_its_share():
    numbers, world = received(Faults(loss=0.3))
    assert 50 < len(numbers) < 90
    assert len(world.trace.of_kind("lose")) == 100 - len(numbers)


def test_duplicates_arrive_twice():
    numbers, _ = received(Faults(duplicate=0.3))
    assert 10 < len(numbers) - len(set(numbers)) < 50


@message
class Handful:
    numbers: list


@pytest.mark.parametrize("record", [True, False])
def test_each_arrival_is_a_copy_of_what_was_sent(record):
    class Changes(Node):
        def on_start(self, ctx):
            self.got, self.sent = [], [[1], [2]]
            for peer in ctx.peers if ctx.me == "n1" else ():
                ctx.send(peer, Handful(self.sent))

        def on_handful(self, message, sender, ctx):
            self.got.append(message)
            message.numbers[0].append(3)

    world = World(Changes, nodes=2, faults=Faults(duplicate=1.0), record=record)
    world.run()
    assert [message.numbers for message in world["n2"].got] == [[[1, 3], [2]]] * 2
    assert world["n1"].sent == [[1], [2]]
    assert {str(event.body["numbers"]) for event in world.trace.of_kind("send", "deliver")} <= {"[[1], [2]]"}


def test_large_delays_reorder():
    numbers, _ = received(Faults(link=Link(delay_ms=50, distribution="exponential")))
    assert sorted(numbers) == list(range(1, 101)) and numbers != sorted(numbers)


def test_a_straggler_comes_after_everything_else():
    numbers, _ = received(Faults(link=Link(delay_ms=1, straggle=0.05, straggle_ms=2000)))
    assert sorted(numbers) == list(range(1, 101)) and numbers[:50] != list(range(1, 51))


def test_a_partition_cuts_both_ways_and_heals():
    numbers, _ = received(Faults(link=Link(delay_ms=0), plan=[Partition([["n1"]], at_s=0.305, for_s=0.3)]))
    assert numbers == [*range(1, 31), *range(61, 101)]


@pytest.mark.parametrize("first, lost", [("n1", True), ("n2", False)])
def test_a_one_way_partition_cuts_one_way(first, lost):
    numbers, _ = received(Faults(link=Link(delay_ms=0), plan=[Partition([[first]], one_way=True)]))
    assert (numbers == []) is lost


def test_a_node_that_is_down_receives_nothing():
    _, world = received(Faults(link=Link(delay_ms=0), plan=[Crash("n2", 0.305, restart_after_s=0.3)]))
    assert [number for number, _ in world["n2"].got] == list(range(61, 101))
    assert {event.label for event in world.trace.of_kind("lose")} == {"receiver is down"}


def test_a_paused_node_gets_everything_when_it_goes_on():
    numbers, world = received(Faults(link=Link(delay_ms=0), plan=[Pause("n2", 0.305, for_s=0.3)]))
    assert numbers == list(range(1, 101))
    assert {at for number, at in world["n2"].got if 31 <= number <= 60} == {0.605}


def test_a_paused_node_that_crashes_loses_what_was_waiting():
    plan = [Pause("n2", 0.305, for_s=0.3), Crash("n2", 0.5, restart_after_s=0.05)]
    _, world = received(Faults(link=Link(delay_ms=0), plan=plan))
    assert 31 not in [number for number, _ in world["n2"].got]


def test_a_timer_that_is_put_off_right_after_a_pause_still_goes_off():
    class PutsOff(Sender):
        def on_tick(self, message, sender, ctx):
            ctx.set_timer("watch", 0.1)

        def on_timer(self, name, ctx):
            if name == "watch":
                ctx.note("silence")
            else:
                super().on_timer(name, ctx)

    faults = Faults(link=Link(delay_ms=0), plan=[Pause("n2", 0.305, for_s=0.3)])
    world = World(PutsOff, nodes=2, seed=3, faults=faults)
    world.run()
    assert [round(note["at_s"], 2) for note in world.trace.notes("silence")] == [1.1]


def test_a_request_that_is_made_when_one_was_given_up_has_its_whole_time():
    class Insists(Sender):
        async def on_start(self, ctx):
            for _ in range(3 if ctx.me == "n1" else 0):
                try:
                    await ctx.rpc("n2", Tick(1), timeout_s=0.2)
                except TimeoutError:
                    ctx.note("gave up")

        def on_tick(self, message, sender, ctx):
            pass

    world = World(Insists, nodes=2, faults=Faults(link=Link(delay_ms=0)))
    world.run()
    assert [note["at_s"] for note in world.trace.notes("gave up")] == [0.2, 0.4, 0.6]


def test_a_fault_plan_for_a_stranger_is_refused():
    with pytest.raises(LearnerError, match="n7"):
        World(Sender, nodes=2, faults=Faults(plan=[Crash("n7", 1)]))


def test_a_crash_at_a_save_comes_before_it_or_after_it():
    class Saves(Node):
        def on_start(self, ctx):
            ctx.set_timer("t", 0.01)

        def on_timer(self, name, ctx):
            ctx.note("trying", number=ctx.load("count", 0) + 1)
            ctx.save(count=ctx.load("count", 0) + 1)
            ctx.note("saved", number=ctx.load("count"))
            ctx.set_timer("t", 0.01)

    world = World(Saves, nodes=1, seed=1, faults=Faults(crash_at_save=0.2))
    world.run(20)
    tried = [note["number"] for note in world.trace.notes("trying")]
    again = {number for number in tried if tried.count(number) > 1}
    crashed_after = set(tried) - {note["number"] for note in world.trace.notes("saved")} - again
    assert len(again) > 5 and len(crashed_after) > 5


def test_vector_clocks_know_what_caused_what():
    _, world = received(Faults(link=Link(delay_ms=1)))
    trace = world.trace
    for event in trace.of_kind("deliver"):
        assert trace[event.cause].kind == "send" and trace[event.cause].before(event)
    first_timer = trace.of_kind("timer")[0]
    start_of_2 = next(event for event in trace if event.kind == "start" and event.node == "n2")
    assert not first_timer.before(start_of_2) and not start_of_2.before(first_timer)


DIGESTS = """
import sys
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])
from right import Client, Raft
from labsupport.faults import Faults
from labsupport.sim.world import World

HARSH = Faults(loss=0.05, duplicate=0.05, crashes_per_s=3, partitions_per_s=1, pauses_per_s=1, crash_at_save=0.01,
               lose_disk=0.1, aim=0.5, skew=0.1)
for seed in range(int(sys.argv[3])):
    world = World(Raft, nodes=5, seed=seed, faults=HARSH, clients={"c1": Client})
    world.advance(max_events=150)
    print(world.trace.digest())
"""


def test_a_seed_is_one_run_in_every_process_and_under_every_hash_seed():
    printed = []
    for hash_seed in ("0", "1", "2718"):
        command = [sys.executable, "-c", DIGESTS, str(HERE / "rafts"), str(ROOT), "60"]
        done = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        printed.append(done.stdout.split())
    assert printed[0] == printed[1] == printed[2]
    assert len(set(printed[0])) == 60


def test_a_right_raft_elects_commits_and_breaks_nothing(raft):
    right, properties = raft("right"), raft("properties")
    faults = Faults(loss=0.02, duplicate=0.02, crashes_per_s=1, partitions_per_s=1, crash_at_save=0.001, until_s=3)
    for seed in range(5):
        clients = {"c1": right.Client, "c2": right.Client}
        world = World(right.Raft, nodes=5, seed=seed, faults=faults, clients=clients, properties=properties.SAFETY)
        assert world.run(5) is None
        assert world.trace.notes("leader")
        late = [note for note in world.trace.notes("applied") if note["at_s"] > 4]
        assert {note["node"] for note in late} == {"n1", "n2", "n3", "n4", "n5"}
        assert len(world.trace.history()) > 20
