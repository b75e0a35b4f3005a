"""The picture of a few operations: what it must show whatever the operations are."""

from __future__ import annotations

import random

from labsupport.checkers.drawing import draw


def test_no_operations_no_picture():
    assert draw([]) == ""


def test_boxes_overlap_exactly_if_the_operations_do(reference):
    for seed in range(200):
        history = reference.random_register(random.Random(seed), size=6, unique=True, cas=0.3, crashed=0.2)
        shown = sorted(history, key=lambda op: op.called)
        lines = draw(history).split("\n")
        assert len(lines) == len(shown)
        spans = []
        for line, op in zip(lines, shown, strict=True):
            assert line.startswith(str(op.client)) and op.text in line
            spans.append((line.index("|"), None if op.returned is None else line.rindex("|")))
            assert line.endswith("..." if op.returned is None else "|")
        for one, (_, end) in zip(shown, spans, strict=True):
            for other, (start, _) in zip(shown, spans, strict=True):
                assert one.precedes(other) is (end is not None and end < start)
