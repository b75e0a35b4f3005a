"""What a search has found is drawn; what it has not found is said."""

from __future__ import annotations

import html

from labsupport import Cluster, Node, Property, explore, message
from labsupport.view.exploration import Explored
from labsupport.view.spacetime_picture import SpaceTime


@message
class Claim:
    pass


@message
class Granted:
    pass


class Greedy(Node):
    def on_start(self, ctx):
        ctx.note("leader") if ctx.me == "n1" else ctx.send("n1", Claim())

    def on_claim(self, message, sender, ctx):
        ctx.note("leader", after=sender)
        ctx.reply(message, Granted())

    def on_granted(self, message, sender, ctx):
        pass


class OneClaim(Property):
    hears = ("leader",)
    count = 0

    def heard(self, world, node, what, facts):
        self.count += 1
        return f"{node} leads <twice>" if self.count > 1 else ""


def test_a_finding_is_a_sentence_and_the_run_that_proves_it():
    found = explore(Greedy, nodes=2, properties=[OneClaim], schedules=0, cores=1)
    for explored in (found, found.finding):
        bundle = Explored(explored)._repr_mimebundle_()
        card, picture = bundle["text/html"].split("</section>")
        assert "OneClaim" in card and "n1 leads &lt;twice&gt;" in card
        assert "VIOLATION" in picture and bundle["text/plain"] == str(explored)
        assert "<twice>" not in bundle["text/html"]


def test_a_search_without_a_finding_says_what_it_has_tried():
    explored = explore(Greedy, nodes=2, states=50, schedules=4, cores=1)
    assert html.escape(str(explored)) in Explored(explored)._repr_mimebundle_()["text/html"]


def test_a_run_of_real_processes_is_drawn_like_a_simulated_one():
    with Cluster(Greedy, nodes=2) as cluster:
        client = cluster.client()
        assert client.rpc("n1", {"type": "claim"}, timeout_s=20)["type"] == "granted"
        cluster.kill("n2")
        trace = cluster.trace()
    picture = SpaceTime(trace)
    asked = [flight for flight in picture.facts.flights if picture.facts.lanes[flight.source] == client.name]
    assert [(flight.fate, flight.label) for flight in asked] == [("arrives", "claim")]
    assert [span.what for span in picture.facts.spans] == ["down"]
    assert {"n1", "n2", client.name} == set(picture.facts.lanes) and "n2 crashes" in picture.text
