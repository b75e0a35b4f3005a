"""What a space-time diagram says of a run: every fate of a message, every span, in all its forms, and no markup."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import xml.dom.minidom
from collections import Counter

import labsupport
from labsupport.trace import Event, Trace
from labsupport.view import spacetime_svg
from labsupport.view.spacetime_facts import FATES, facts
from labsupport.view.spacetime_picture import SpaceTime


def told(*rows, nodes=("a", "b")):
    """A trace in JSON from rows (kind, node, peer, message, label)."""
    events = [[place / 10, *row[:4], None, row[4]] for place, row in enumerate(rows)]
    return {"nodes": list(nodes), "seed": 1, "left_out": 0, "events": events}


def drawing(page: str) -> str:
    return re.search(r"<svg viewBox.*?</svg>(?=</div>)", page, re.S)[0]


def test_a_trace_told_in_json_is_made_of_its_events(trace):
    rows = json.loads(json.dumps(trace.as_json()))["events"]
    again = [Event(place, *row) for place, row in enumerate(rows)]
    assert [str(event) for event in again] == [str(event) for event in trace]


def test_a_long_trace_is_told_from_its_end(trace):
    short = trace.as_json(10)
    assert (len(short["events"]), short["left_out"]) == (10, len(trace) - 10)
    assert short["events"][-1][1] == "violation"


def test_every_message_has_a_flight_for_each_of_its_ends(trace):
    found = facts(trace.as_json())
    kinds = Counter(event.kind for event in trace)
    assert set(FATES) == {flight.fate for flight in found.flights}
    ended = [flight for flight in found.flights if flight.ended is not None]
    assert len(ended) == kinds["deliver"] + kinds["lose"]
    assert sum(flight.fate == "lost" for flight in ended) == kinds["lose"]
    for flight in ended:
        assert flight.sent < flight.ended
        assert found.events[flight.sent].message == found.events[flight.ended].message


def test_a_message_that_a_later_one_overtook_is_late_and_a_second_arrival_is_again():
    sends = [("send", "a", "b", number, "m") for number in (1, 2)]
    ends = [("deliver", "b", "a", number, "m") for number in (2, 1, 2)]
    fates = [flight.fate for flight in facts(told(*sends, *ends)).flights]
    assert fates == ["arrives", "late", "again"]


def test_what_was_sent_before_the_diagram_begins_still_arrives():
    (flight,) = facts(told(("deliver", "b", "a", 7, "m"))).flights
    assert (flight.sent, flight.ended, flight.source, flight.dest) == (None, 0, 0, 1)


def test_spans_end_where_their_cause_ends():
    rows = [("pause", "a", "", None, ""), ("crash", "a", "", None, ""), ("restart", "a", "", None, "")]
    rows += [("partition", "", "", None, "a -> b"), ("partition", "", "", None, "b -> a"), ("heal", "", "", None, "")]
    rows += [("call", "b", "", None, "read(x)"), ("return", "b", "", None, "7"), ("crash", "b", "", None, "")]
    spans = [tuple(span) for span in facts(told(*rows)).spans]
    assert spans == [
        ("paused", 0, 0, 1, ""),
        ("down", 0, 1, 2, ""),
        ("partition", None, 3, 4, "a -> b"),
        ("partition", None, 4, 5, "b -> a"),
        ("operation", 1, 6, 7, "read(x) → 7"),
        ("down", 1, 8, None, ""),
    ]


def test_the_still_picture_is_well_formed_and_names_what_it_shows(trace):
    picture = SpaceTime(trace)
    svg = spacetime_svg.still(picture.facts, picture.summary, most=len(trace))
    tree = xml.dom.minidom.parseString(svg)
    titles = [node.firstChild.data for node in tree.getElementsByTagName("title")]
    assert titles[0] == "Space-time diagram"
    assert tree.getElementsByTagName("desc")[0].firstChild.data == picture.summary
    for event in trace:
        if event.kind in spacetime_svg.LOOK["marks"]:
            assert str(event).strip() in titles
    assert sum(title.startswith("lost: ") for title in titles) == sum(event.kind == "lose" for event in trace)
    assert ">VIOLATION<" in svg and "partition: n1 -&gt; n3" in svg and "read(x&lt;y)" in svg


def test_each_fate_has_a_line_and_a_tip_of_its_own_not_only_a_colour():
    looks = [(dashes, tip, filled) for dashes, _, _, tip, filled in spacetime_svg.LOOK["fates"].values()]
    assert set(spacetime_svg.LOOK["fates"]) == set(FATES)
    assert len({dashes for dashes, _, _ in looks}) == len({(tip, filled) for _, tip, filled in looks}) == len(FATES)


def test_the_page_stands_for_itself_and_nothing_from_a_run_becomes_markup(trace):
    page = SpaceTime(trace).html()
    assert not re.search(r'(?:src|href)="|url\(|@import', page)
    assert "<b>no</b>" not in page and "n1 said &lt;b&gt;no&lt;/b&gt;" in page
    assert "http" not in page and "<script" not in SpaceTime(trace).html(live=False)
    assert page.count("</script>") == page.count("<script") == 3
    data = json.loads(re.search(r'class="lab-st-data">(.*?)</script>', page, re.S)[1])
    assert len(data["events"]) == len(trace)


def test_a_long_run_has_a_short_still_picture_that_says_so(trace):
    page = SpaceTime(trace).html()
    assert f"The last {spacetime_svg.MOST_EVENTS} of {len(trace):,} events." in page
    assert len(drawing(page)) < 100_000


def test_an_empty_trace_can_be_drawn():
    page = SpaceTime(Trace(["n1"], [])).html()
    assert "<svg" in page and "<script" not in page  # nothing to step through


def test_what_has_a_picture_exists_and_so_does_its_picture():
    for (module, name), home in labsupport._PICTURE_OF.items():
        assert isinstance(getattr(importlib.import_module(module), name), type)
        view, picture = home.rsplit(".", 1)
        assert callable(getattr(importlib.import_module(f"labsupport.{view}"), picture)._repr_mimebundle_)


def test_a_trace_is_shown_as_a_picture_in_a_notebook_and_as_text_beside_it():
    program = (
        "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()\n"
        "import labsupport, sys; assert 'labsupport.view' not in sys.modules\n"
        "from labsupport.trace import Trace\n"
        "data, _ = shell.display_formatter.format(Trace(['n1'], [(0, 'start', 'n1', None)]))\n"
        "assert data['text/html'].startswith('<figure') and 'n1 starts' in data['text/plain']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
