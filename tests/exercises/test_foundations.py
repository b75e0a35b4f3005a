"""The situations of lesson 01: each is one run for one seed, and no answer makes a check fail by itself."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from labsupport import Error, Node, World, message
from labsupport.exercises.foundations import broadcast, detector, ids
from labsupport.exercises.foundations.scene import MOST_EVENTS, between_nodes
from labsupport.exercises.lesson_01 import LESSON

TESTS = pathlib.Path(__file__).resolve().parents[1]
RIGHT = {
    "01.1": ("timer_for_each_peer", "Detector"),
    "01.2": ("number_of_each_life", "Generator"),
    "01.3": ("tells_all_itself", "Broadcaster"),
}
SITUATIONS = [(exercise.id, case) for exercise in LESSON.exercises for case in exercise.cases]


def answer(path: str, name: str) -> dict[str, type[Node]]:
    """The class of an answer file, as `replay` takes it."""
    spec = importlib.util.spec_from_file_location(f"answer_{name}", TESTS / f"{path}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: getattr(module, name)}


@pytest.mark.parametrize(("exercise", "case"), SITUATIONS, ids=lambda part: getattr(part, "name", part))
def test_a_situation_is_the_same_run_for_the_same_seed(exercise, case):
    file, name = RIGHT[exercise]
    kinds = answer(f"right_answers/{exercise}/{file}", name)
    first, again, other = (case.run(kinds, seed) for seed in (7, 7, 8))
    assert first.trace.digest() == again.trace.digest() != other.trace.digest()


@pytest.mark.parametrize("module", [detector, ids, broadcast])
def test_situations_have_names_of_their_own(module):
    names = [situation.name for situation in module.SITUATIONS]
    assert len(set(names)) == len(names) == 8


def test_a_situation_that_goes_wrong_shows_the_world_in_which_it_did():
    kinds = answer("wrong_answers/01.3/sends_once", "Broadcaster")
    parted = next(situation for situation in broadcast.SITUATIONS if situation.name == "a partition")
    assert parted.run(kinds, 1).trace.of_kind("lose")


def test_a_storm_ends_the_run():
    kinds = answer("wrong_answers/01.3/no_dedupe", "Broadcaster")
    world = broadcast.SITUATIONS[0].run(kinds, 1)
    assert broadcast.STORM < world.events < MOST_EVENTS


def test_a_refusal_is_an_answer_and_no_failure_of_the_client():
    class Refuses(Node):
        def on_generate(self, message, sender, ctx):
            ctx.reply(message, Error(11, "not now"))

    for situation in ids.SITUATIONS:
        assert situation.run({"Generator": Refuses}, 1).violation is None


def test_what_a_node_sends_is_told_with_its_cause():
    @message
    class Knock:
        number: int

    class Knocker(Node):
        def on_start(self, ctx):
            ctx.set_timer("later", 1)
            if ctx.me == "n1":
                ctx.send("n2", Knock(123456))

        def on_knock(self, message, sender, ctx):
            ctx.send("n3", Knock(message.number + 1))

        def on_timer(self, name, ctx):
            if ctx.me == "n3":
                ctx.send("n1", Knock(1))

    world = World(Knocker, nodes=3, seed=1)
    world.run(1.001)
    told = [(sent.source, sent.dest, sent.cause, sent.asker) for sent in between_nodes(world)]
    assert told[:2] == [("n1", "n2", "start", ""), ("n2", "n3", "deliver", "n1")]
    assert ("n3", "n1", "timer", "") in told
    assert next(between_nodes(world)).carries(123456)
