"""What is led by hand has a button for everything that can happen, and shows the run so far in all forms."""

from __future__ import annotations

import dataclasses
import sys
import types

from labsupport import ByHand, Node, message
from labsupport.view import by_hand, states
from labsupport.view.by_hand import HandView


@message
class Hail:
    number: int


class Hailer(Node):
    def on_start(self, ctx):
        self.heard, self.log, self.commit_index, self._hidden = 0, [], 0, 1
        if ctx.me == "n1":
            for peer in ctx.peers:
                ctx.send(peer, Hail(1))

    def on_hail(self, message, sender, ctx):
        self.heard += 1
        self.log.append({"term": 1, "command": f"<b>{message.number}</b>"})


def live_of(hand: ByHand, monkeypatch) -> by_hand._Live:
    """The widgets as a notebook would have shown them."""
    made = []
    kind = by_hand._Live
    monkeypatch.setattr(by_hand, "_Live", lambda *given: made.append(kind(*given)) or made[-1])
    assert "application/vnd.jupyter.widget-view+json" in HandView(hand)._repr_mimebundle_()
    return made[0]


def buttons(live) -> dict[str, object]:
    return {each.description: each for row in live._rows for each in row.children if hasattr(each, "click")}


def test_every_choice_has_a_button_and_the_button_does_it(monkeypatch):
    hand = ByHand(Hailer, nodes=3)
    live = live_of(hand, monkeypatch)
    assert [name.lower() for name in buttons(live)] == [choice.words for choice in hand.choices]
    assert live.back.disabled and live.forward.disabled
    buttons(live)["Deliver hail(number=1) from n1 to n3"].click()
    assert hand["n3"].heard == 1 and hand["n2"].heard == 0
    assert "n3 receives hail(number=1) from n1" in live.status.value and "Step 1 of 1" in live.status.value
    assert "Deliver hail(number=1) from n1 to n3" not in buttons(live)
    assert "Deliver hail(number=1) from n1 to n3, again" in buttons(live)
    live.back.click()
    assert hand["n3"].heard == 0 and not live.forward.disabled and live.back.disabled
    live.slider.value = 1
    assert hand["n3"].heard == 1 and hand.place == 1


def test_widgets_follow_what_is_done_by_calls_and_keep_their_buttons(monkeypatch):
    hand = ByHand(Hailer, nodes=3)
    live = live_of(hand, monkeypatch)
    first = live._rows[0].children[1]
    hand.take(1)
    assert live._rows[0].children[1] is first and first.description == "Deliver hail(number=1) from n1 to n3"
    hand.take("crash n2")
    assert "✗ down" in live.picture.value and "Restart n2" in buttons(live)


def test_widgets_that_are_nowhere_follow_no_more_until_they_are_seen_again(monkeypatch):
    hand = ByHand(Hailer, nodes=3)
    live = live_of(hand, monkeypatch)
    for count in (1, 2, 1, 0):  # as the browser tells it
        live.box._view_count = count
    assert not hand._changed
    hand.take(1)
    assert "Step 0 of 0" in live.status.value
    live.box._view_count = 1
    assert "Step 1 of 1" in live.status.value
    hand.back()
    assert "Step 0 of 1" in live.status.value and len(hand._changed) == 1


def test_so_many_choices_that_nobody_reads_them_are_counted(monkeypatch):
    live = live_of(ByHand(Hailer, nodes=by_hand.MOST + 4), monkeypatch)
    assert "and 3 more" in live._more[0].value and len(live._rows[0].children) == by_hand.MOST + 2


def test_without_widgets_everything_is_there_in_words_and_as_a_page(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bundle = HandView(ByHand(Hailer, nodes=2).take("deliver"))._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    for form in bundle.values():
        assert "n2" in form and "crash n1" in form and "heard=1" in form and "_hidden" not in form
    assert "<svg" in bundle["text/html"] and "&lt;b&gt;1&lt;/b&gt;" in bundle["text/html"]
    assert "<b>1</b>" not in bundle["text/html"]


@dataclasses.dataclass
class Entry:
    term: int
    command: str


def test_logs_stand_side_by_side_with_what_is_committed():
    n1 = types.SimpleNamespace(log=[Entry(1, "x=1"), Entry(2, "x=2")], commit_index=1, term=2, role="leader")
    n2 = types.SimpleNamespace(log=[(1, "x=1")], commit=1)
    table = states.logs({"n1": n1, "n2": n2, "n3": None})
    assert table.header == ("place", "n1 · leader · term 2 · commit 1", "n2 · commit 1", "n3 ✗ down")
    assert table.rows == [
        ("1", "✓ term 1 · command='x=1'", "✓ (1, 'x=1')", ""),
        ("2", "term 2 · command='x=2'", "", ""),
    ]


def test_a_first_entry_of_term_0_only_fills_the_place():
    node = types.SimpleNamespace(log=[{"term": 0}, {"term": 1, "op": "a"}, {"term": 1, "op": "b"}], commit_index=1)
    assert [row[:2] for row in states.logs({"n1": node}).rows] == [
        ("0", "✓ term 0"),
        ("1", "✓ term 1 · op='a'"),
        ("2", "term 1 · op='b'"),
    ]


def test_nodes_without_a_log_have_no_such_table():
    assert states.logs({"n1": types.SimpleNamespace(log="none"), "n2": None}) is None
