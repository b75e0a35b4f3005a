"""Latencies are drawn over one axis, and said in words."""

from __future__ import annotations

import base64
import re

import pytest

from labsupport import Latencies, LearnerError


def test_quantiles_are_those_within_which_that_part_came():
    latencies = Latencies({"all": range(1, 101), "<one>": [2500.0]})
    assert latencies.table().rows == [
        ("all", "100", "50 ms", "99 ms", "100 ms"),
        ("<one>", "1", "2,500 ms", "2,500 ms", "2,500 ms"),
    ]
    assert "99 of 100 within" in latencies.text() and "all: half within 50 ms" in latencies.summary


def test_the_page_has_a_picture_with_words_for_it_and_a_table():
    page = Latencies({"a": [0.0, 0.2], "<b>": [3, 4, 500]}).page()
    picture = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', page)[1])
    assert picture.startswith(b"\x89PNG") and len(picture) > 3000
    assert 'alt="Histogram of latencies; a: half within 0 ms, &lt;b&gt;: half within 4 ms."' in page
    assert "<b>" not in page.replace("<b></b>", "") and "<table>" in page


def test_equal_times_are_drawn_too():
    assert "<img" in Latencies({"a": [1.0, 1.0]}).html()


def test_the_axis_is_straight_unless_the_quick_ones_could_not_be_seen_on_it():
    assert Latencies({"one by one": range(100, 2001, 100), "in a stream": [100] * 20})._straight
    assert not Latencies({"near": [0.2, 0.3], "far": [40, 80]})._straight


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [-1.0]}])
def test_what_cannot_be_drawn_is_refused(series):
    with pytest.raises(LearnerError, match="no times to draw"):
        Latencies(series)
