"""A ring says who keeps what: the next node clockwise, also over the top; and what moved when nodes changed."""

from __future__ import annotations

import re

from labsupport import HashRing

KEYS = {"a": 0.05, "b": 0.3, "c": 0.6, "<d>": 0.95}


def test_the_next_node_clockwise_keeps_a_key_also_over_the_top():
    ring = HashRing({"n1": [0.1], "n2": [0.5, 0.7]}, KEYS)
    assert ring.owners == {"a": "n1", "b": "n2", "c": "n2", "<d>": "n1"}
    assert HashRing({"n1": [0.3]}, {"b": 0.3}).owners == {"b": "n1"}
    assert ring.summary == "4 keys: n1 keeps 2, n2 keeps 2." and ring.moved == []


def test_only_what_a_new_node_takes_over_has_moved():
    ring = HashRing({"n1": [0.1], "n2": [0.5, 0.7], "n3": [0.99]}, KEYS, before={"n1": [0.1], "n2": [0.5, 0.7]})
    assert ring.moved == ["<d>"] and "moved: 1" in ring.summary
    assert ring.table().rows == [("n1", "1", "0", "1"), ("n2", "2", "0", "0"), ("n3", "1", "1", "0")]
    assert "<d>: n1 -> n3" in ring.text()


def test_a_node_that_went_is_still_in_the_table():
    ring = HashRing({"n1": [0.1]}, KEYS, before={"n1": [0.1], "n2": [0.5]})
    assert ring.moved == ["b"] and ring.table().rows[1] == ("n2", "0", "0", "1")


def test_the_picture_has_every_node_key_and_move_as_words():
    page = HashRing({"n1": [0.1], "n2": [0.5]}, KEYS, before={"n2": [0.5]}).page()
    assert "<title>&lt;d&gt;: n2 -&gt; n1</title>" in page and "<d>" not in page
    assert len(re.findall(r"<circle[^>]* r=\"3\"", page)) == len(KEYS)
    assert 'role="img"' in page and "moved: 3" in page and "a key that has moved" in page
