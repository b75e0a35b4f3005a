"""A panel shows every node as it is, does what its buttons say in a thread of its own, and lets go in the end."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from labsupport import Cluster, LearnerError, Node, Panel, World, message
from labsupport.view.systems import Row


@message
class Hello:
    pass


class Quiet(Node):
    def on_start(self, ctx):
        self.role, self.term = "follower", 3
        ctx.note("ready")
        ctx.set_timer("tick", 0.5)

    def on_timer(self, name, ctx):
        self.role = "leader"

    def on_hello(self, message, sender, ctx):
        pass


class Failing(Quiet):
    def on_timer(self, name, ctx):
        raise ValueError("<no>")


def until(condition, what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)


def shown(panel: Panel) -> Panel:
    """The panel as a notebook has shown it."""
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()
    return panel


def press(panel: Panel, deed: str, name: str = "") -> None:
    button = panel._live._buttons[deed, name]
    assert not button.disabled, f"{button.description} is disabled"
    button.click()


def drag(links, one: str, other: str) -> None:
    """What the browser sends when somebody drags from node to node."""
    links._handle_custom_msg({"link": [one, other]}, [])


def state(panel: Panel, name: str) -> str:
    return panel._live._cells[name][1].value


def test_all_forms_show_the_nodes_of_a_world():
    world = World(Quiet, nodes=2, seed=1)
    world.run(until_s=0.1)
    panel = Panel(world)
    assert panel.rows() == [Row(name, "running", "follower", "term 3") for name in ("n1", "n2")]
    bundle = panel._repr_mimebundle_()
    for form in ("text/html", "text/plain"):
        assert "● running" in bundle[form] and "term 3" in bundle[form] and "a world at 0.100 s" in bundle[form]


def test_the_buttons_of_a_world_break_mend_and_move_it():
    world = World(Quiet, nodes=3, seed=1)
    world.run(until_s=0.1)
    panel = shown(Panel(world))
    press(panel, "kill", "n1")
    assert (state(panel, "n1"), world.nodes["n1"]) == ("✗ down", None)
    assert [deed for (deed, name), button in panel._live._buttons.items() if name == "n1" and not button.disabled] == [
        "restart",
        "cut off",
    ]
    press(panel, "pause", "n2")
    press(panel, "cut off", "n3")
    press(panel, "run 1 s")
    assert state(panel, "n2") == "‖ paused" and "n3   timer &#x27;tick&#x27; goes off" in panel._live.events.value
    assert [row.role for row in panel.rows()] == ["", "follower", "leader"]
    press(panel, "restart", "n1")
    press(panel, "resume", "n2")
    press(panel, "heal")
    press(panel, "run 0.1 s")
    kinds = [event.kind for event in world.trace if event.kind not in ("start", "note", "timer")]
    assert kinds == ["crash", "pause", "partition", "restart", "resume", "heal"]
    assert [row.state for row in panel.rows()] == ["running"] * 3 and "1.200 s" in panel._live.title.value
    panel.close()


def test_links_are_cut_and_mended_one_by_one_and_all_forms_say_which():
    world = World(Quiet, nodes=3, seed=1)
    panel = shown(Panel(world))
    links = panel._live.links.widget
    drag(links, "n1", "n2")
    assert links.cuts == [["n1", "n2"], ["n2", "n1"]] == sorted(map(list, world.cuts))
    drag(links, "n3", "n2")
    drag(links, "n2", "n1")
    assert world.cuts == {("n2", "n3"), ("n3", "n2")} and "cut: n2 → n3, n3 → n2" in repr(panel)
    world.cut([("n3", "n1")])
    drag(links, "n1", "n3")
    assert world.cuts == frozenset() and "cut:" not in repr(panel)
    panel.close()
    assert not links.usable


def test_a_world_of_one_node_has_no_links():
    assert shown(Panel(World(Quiet, nodes=1)))._live.links is None


def test_what_goes_wrong_is_said_beside_the_buttons_as_text():
    panel = shown(Panel(World(Failing, nodes=1)))
    press(panel, "run 1 s")
    assert "ValueError" in panel.notes[-1]
    assert "&lt;no&gt;" in panel._live.notes.value and "<no>" not in panel._live.notes.value
    panel.close()


def test_a_button_of_a_cluster_returns_at_once_and_its_thread_does_the_work():
    before = set(threading.enumerate())
    with Cluster(Quiet, nodes=2) as cluster:
        panel = shown(Panel(cluster))
        until(lambda: state(panel, "n1") == "● running", "the first look")
        until(lambda: panel._live._cells["n1"][2].value == "ready", "the note of its role")
        press(panel, "kill", "n1")
        until(lambda: state(panel, "n1") == "✗ down", "n1 to be shown as down")
        assert cluster.pid("n1") is None
        press(panel, "pause", "n2")
        until(lambda: state(panel, "n2") == "‖ paused", "n2 to be shown as paused")
        press(panel, "restart", "n1")
        until(lambda: state(panel, "n1") == "● running", "n1 to be shown as running")
        until(lambda: panel.notes[-1] == "restart n1: done", "the note of it")
        drag(panel._live.links.widget, "n1", "n2")
        until(lambda: cluster.cuts == {("n1", "n2"), ("n2", "n1")}, "the link to be cut")
        press(panel, "heal")
        until(lambda: panel._live.links.widget.cuts == [], "the map to show that it is whole")
        panel.order("kill", "n9")
        until(lambda: "There is no node 'n9'" in panel.notes[-1], "the error")
    until(lambda: all(button.disabled for button in panel._live._buttons.values()), "the panel to notice the end")
    until(lambda: set(threading.enumerate()) <= before, "its threads to end")
    assert "text/plain" in panel._repr_mimebundle_()


def test_without_widgets_the_table_is_left(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bundle = Panel(World(Quiet, nodes=1))._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"} and "n1" in bundle["text/plain"]


def test_only_clusters_have_panels():
    with pytest.raises(LearnerError, match="cannot show int 3"):
        Panel(3)
