"""A cluster that is led by hand: what can happen is offered, everything can be taken back, and runs are repeated."""

from __future__ import annotations

import pytest

from labsupport import ByHand, Faults, LearnerError, Node, Property, World, explore, message


@message
class Rap:
    number: int


@message
class WhoIsThere:
    number: int


class Knocker(Node):
    def on_start(self, ctx):
        self.heard = 0
        ctx.send("door", Rap(1))
        ctx.set_timer("again", 0.2)

    def on_timer(self, name, ctx):
        ctx.send("door", Rap(1))

    def on_who_is_there(self, message, sender, ctx):
        self.heard += 1


class Door(Node):
    def on_rap(self, message, sender, ctx):
        ctx.reply(message, WhoIsThere(message.number))


class Asker(Node):
    async def on_start(self, ctx):
        self.got = "nothing"
        try:
            await ctx.rpc("n1", Rap(7), timeout_s=1)
            self.got = "an answer"
        except TimeoutError:
            self.got = "a timeout"
        await ctx.sleep(3)
        self.got += " and sleep"


class HeardOnce(Property):
    def after(self, world, name, node):
        return f"{name} heard {node.heard}" if getattr(node, "heard", 0) > 1 else ""


PAIR = {"knocker": Knocker, "door": Door}


def words(hand: ByHand) -> list[str]:
    return [choice.words for choice in hand.choices]


def test_what_can_happen_is_offered_and_nothing_else_happens():
    hand = ByHand(PAIR)
    assert words(hand) == [
        "deliver rap(number=1) from knocker to door",
        "timer 'again' of knocker goes off",
        "lose rap(number=1) from knocker to door",
        "crash knocker",
        "crash door",
    ]
    hand.take(1)
    assert words(hand)[0] == "deliver who_is_there(number=1) from door to knocker"
    assert hand["knocker"].heard == 0
    hand.take("deliver who")
    assert hand["knocker"].heard == 1
    assert words(hand)[:1] == ["timer 'again' of knocker goes off"]
    assert [event.kind for event in hand.trace] == ["start", "send", "start", "deliver", "send", "deliver"]


def test_a_lost_message_never_arrives_and_a_repeated_one_arrives_twice():
    hand = ByHand(PAIR).take("lose rap")
    assert not [each for each in words(hand) if "deliver" in each]
    assert str(hand.trace[-1]).endswith("door never receives rap(number=1) from knocker (dropped)")
    hand = (
        ByHand(PAIR).take("deliver").take("deliver").take("deliver who_is_there(number=1) from door to knocker, again")
    )
    assert hand["knocker"].heard == 2


def test_a_step_back_makes_the_nodes_what_they_were_and_forward_what_they_became():
    hand = ByHand(PAIR)
    seen = [(words(hand), hand.trace.digest())]
    for choice in ("timer", "deliver", "crash door", "restart door", "deliver", "deliver who", "lose"):
        hand.take(choice)
        seen.append((words(hand), hand.trace.digest()))
    for place in (3, 0, 7, 6, 1, 99):
        hand.go(place)
        assert (words(hand), hand.trace.digest()) == seen[min(place, 7)]
    assert (hand.back(2).place, hand.last) == (5, 7)
    assert hand.forward().place == 6


def test_another_choice_in_the_past_forgets_what_came_after_and_the_same_one_does_not():
    hand = ByHand(PAIR).take("deliver").take("deliver who").back(2)
    assert (hand.take("deliver").place, hand.last) == (1, 2)
    hand.back()
    assert (hand.take("lose").place, hand.last) == (1, 1)


def test_requests_can_be_given_up_and_sleeps_end():
    hand = ByHand({"n1": Door}, clients={"c1": Asker})
    hand.take("c1 gives up waiting for n1 to answer rap")
    assert hand["c1"].got == "a timeout"
    hand.take("c1 has slept for 3 s")
    assert hand["c1"].got == "a timeout and sleep" and hand.world.now_s > 3
    assert hand.go(0)["c1"].got == "nothing"


def test_after_a_violation_there_is_only_the_way_back():
    hand = ByHand(PAIR, properties=[HeardOnce]).take("timer")
    for _ in range(4):
        hand.take("deliver")
    assert hand.violation.sentence == "knocker heard 2" and hand.choices == []
    with pytest.raises(LearnerError, match="go back first"):
        hand.take(1)
    assert hand.back().violation is None and "deliver who_is_there" in repr(hand)


def test_what_goes_wrong_in_a_handler_is_shown_and_can_be_taken_back():
    class Clumsy(Door):
        def on_rap(self, message, sender, ctx):
            raise ValueError("the door is stuck")

    hand = ByHand({"knocker": Knocker, "door": Clumsy}).take("deliver")
    assert "the door is stuck" in hand.violation.sentence and hand.trace[-1].kind == "error"
    assert hand.back().violation is None


def test_the_run_of_a_world_can_be_gone_back_through():
    world = World(PAIR, seed=5, faults=Faults(loss=0.3))
    world.run(until_s=5)
    hand = ByHand(PAIR, seed=5, after=world.trace)
    assert hand["knocker"].heard == world["knocker"].heard
    assert hand.go(0)["knocker"].heard == 0 and hand.last > 0
    with pytest.raises(LearnerError, match="cannot be repeated"):
        ByHand({"a": Door}, after=world.trace)


def test_what_a_search_has_found_can_be_gone_back_through_and_left(raft, scenario):
    wrong = raft("wrong/ack_of_the_wrong_peer")
    kind = next(each for each in vars(wrong).values() if isinstance(each, type) and each.__module__ == wrong.__name__)
    found = explore(kind, cores=1, **scenario).finding
    given = {name: scenario[name] for name in ("clients", "properties")} if found.clients else {}
    hand = ByHand(kind, nodes=found.nodes, seed=found.seed, after=found.steps, **given)
    whole = hand.trace.digest()
    assert hand.violation.name == found.broken and hand.last == len(found.steps)
    assert hand.back(3).violation is None
    assert hand.forward(3).trace.digest() == whole
    hand.back(2).take(1)
    assert hand.go(0).forward(99).place == hand.last


def test_what_cannot_happen_is_refused_with_what_can():
    with pytest.raises(LearnerError, match="'deliver nothing' cannot happen now"):
        ByHand(PAIR).take("deliver nothing")
    with pytest.raises(LearnerError, match="0 cannot happen now"):
        ByHand(PAIR).take(0)
    hand = ByHand(PAIR)
    before = hand.choices[0]
    with pytest.raises(LearnerError, match="deliver rap"):
        hand.take(before).take(before)


def test_all_of_a_raft_can_be_led_by_hand(raft):
    right = raft("right")
    hand = ByHand(right.Raft, nodes=3)
    hand.take("timer 'election' of n1")
    while hand["n1"].role == "candidate":
        hand.take("deliver")
    assert hand.go(0)["n1"].role != "leader"
    assert hand.forward(99)["n1"].role == "leader"
