"""What is left of every view where no script runs, no style sheet counts and no widget is known says all of it.

Code hosts show notebooks like that: they take scripts, style sheets, `style`, `class`, `id` and `hidden` away, and some
take pictures, too. Other editors do not know Jupyter's widgets.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup, Tag

import labsupport.view
from labsupport import Assignment, ByHand, HashRing, LiveChart, Node, Panel, Property, World, explore
from labsupport.checkers.linearizability import linearizable
from labsupport.history import History, Operation, Outcome, Verdict
from labsupport.services.gauges import Shares
from labsupport.view.by_hand import HandView
from labsupport.view.cards import Card, HintCard, Table, VerdictCard
from labsupport.view.choices import Choices
from labsupport.view.course_map import CourseMap
from labsupport.view.exploration import Explored
from labsupport.view.history_picture import HistoryPicture
from labsupport.view.latencies import Latencies
from labsupport.view.live_picture import LivePicture
from labsupport.view.spacetime_picture import SpaceTime

BLOCKS = ["details", "div", "figure", "li", "p", "pre", "section", "summary", "table", "td", "th", "tr", "ul"]
TAKEN_AWAY = ("class", "hidden", "id", "style")
SHAPES = ["circle", "ellipse", "line", "path", "polygon", "polyline", "rect"]
PAGES = ("#ffffff", "#1f1f1f", "#0d1117")  # a light page, that of a dark editor, that of a dark code host
CONNECTING = {"after", "at", "happened", "in", "most", "order", "step"}  # words that only sentences need
PLAINEST = 3.0  # the least contrast that WCAG 2.2 asks for what is drawn, 1.4.11


class Ticking(Node):
    def on_start(self, ctx):
        self.log = [(1, "x")]
        ctx.set_timer("tick", 0.01)

    def on_timer(self, name, ctx):
        ctx.note("ticked")


class Silence(Property):
    hears = ("ticked",)

    def heard(self, world, node, what, facts):
        return f"{node} ticked"


class Pool:
    """Something with a gauge and an assignment."""

    title, nodes = "Pool", ("pool-0",)

    def gauge(self, what, group):
        return lambda: {"full": 7, "empty": 2}

    def assignment(self, topic, group):
        return lambda: Shares(True, {0: "one", 1: "two", 2: ""}, {0: 5, 1: 0, 2: 1234})


FAILED = Verdict("12.1", Outcome.FAIL, "3 jobs are gone", evidence=("job 4 delivered", "worker killed"), printed="oh")
STALE = History(
    [
        Operation("a", "write", value=1, called=0, returned=1),
        Operation("a", "write", value=2, called=2, returned=4),
        Operation("b", "read", result=2, called=3, returned=5),
        Operation("b", "read", result=1, called=6, returned=7),
    ]
)
STANDING = {
    "done": 1,
    "of": 2,
    "next": "00.2",
    "lessons": [
        {
            "lesson": "00",
            "title": "Start here",
            "notebook": "00_start_here.ipynb",
            "done": 1,
            "of": 2,
            "exercises": [
                {"id": "00.1", "title": "echo", "state": "done"},
                {"id": "00.2", "title": "ping", "state": "tried"},
            ],
        }
    ],
}


def live_chart() -> LiveChart:
    with LiveChart(Pool(), "water") as chart:
        chart.mark("a leak")
    return chart


def assignment() -> Assignment:
    with Assignment(Pool(), "orders", group="billing") as picture:
        picture.mark("another comes")
    return picture


def by_hand() -> HandView:
    hand = ByHand(Ticking, nodes=2)
    hand.take(hand.choices[0])
    return HandView(hand)


VIEWS = {
    "a run": lambda trace: SpaceTime(trace),
    "a failure with its run": lambda trace: VerdictCard(dataclasses.replace(FAILED, trace=trace.as_json(50))),
    "a failure": lambda _: VerdictCard(FAILED, title="worker", misconception="It forgets.", next_hint='hint("12.1")'),
    "hints": lambda _: HintCard("12.1", 2, ("look", "ask")),
    "a table": lambda _: Table("Done", ("lesson", "state"), [("00", "to do"), ("01", "ok")]),
    "the course map": lambda _: CourseMap(STANDING),
    "an anomaly": lambda _: HistoryPicture(STALE, linearizable(STALE)),
    "an order": lambda _: HistoryPicture(STALE[:3], linearizable(STALE[:3], witness=True)),
    "a finding": lambda _: Explored(explore(Ticking, nodes=2, properties=[Silence], schedules=0, cores=1)),
    "a panel": lambda _: Panel(World(Ticking, nodes=2, seed=1)),
    "by hand": lambda _: by_hand(),
    "a live chart": lambda _: live_chart(),
    "an assignment": lambda _: assignment(),
    "a hash ring": lambda _: HashRing({"n1": [0.1], "n2": [0.5]}, {"a": 0.05, "b": 0.3}, before={"n1": [0.1]}),
    "latencies": lambda _: Latencies({"Redis": [0.1, 0.2], "etcd": [1.1, 5.2]}),
    "a question": lambda _: Choices("Which?", ["one", "two"], chosen=print),
}


@pytest.fixture(params=VIEWS)
def view(request, trace):
    return VIEWS[request.param](trace)


def bundle(view) -> dict[str, str]:
    """What the notebook keeps of it."""
    return view._bundle(ended=True) if isinstance(view, LivePicture) else view._repr_mimebundle_()


def stripped(view) -> BeautifulSoup:
    page = BeautifulSoup(bundle(view)["text/html"], "html.parser")
    for gone in page(["script", "style"]):
        gone.decompose()
    for tag in page(True):
        tag.attrs = {name: value for name, value in tag.attrs.items() if name not in TAKEN_AWAY}
    return page


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def inherited(tag: Tag, attribute: str) -> str | None:
    """What an attribute of a part of a picture is, there or further out in the picture."""
    outwards = [tag, *tag.parents]
    inside = outwards[: 1 + next(place for place, one in enumerate(outwards) if one.name == "svg")]
    return next((one[attribute] for one in inside if attribute in one.attrs), None)


def painted(view) -> Iterator[tuple[Tag, list[str]]]:
    """The parts of its pictures, each with its colours; SVG's own colour, black, is told as such."""
    for tag in stripped(view).select("svg " + ", svg ".join([*SHAPES, "text"])):
        colours = [inherited(tag, "fill") or "black"]
        if tag.name in SHAPES:
            colours.append(inherited(tag, "stroke") or "none")
        yield tag, [colour for colour in colours if colour != "none"]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_kind_of_view_is_looked_at_here(trace):
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(labsupport.view.__path__, "labsupport.view.")
    ]
    kinds = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and hasattr(kind, "_repr_mimebundle_")
    }
    assert {type(make(trace)) for make in VIEWS.values()} == kinds - {Card, LivePicture}


def test_without_pictures_widgets_and_styles_the_page_still_says_what_the_text_says(view):
    page = stripped(view)
    for picture in page("svg"):
        picture.decompose()
    for listed in page("ol"):
        for number, item in enumerate(listed("li"), 1):
            item.insert(0, f"{number}. ")
    for block in page(BLOCKS):
        block.insert_before("\n")
        block.append("\n")
    assert words(bundle(view)["text/plain"]) - words(page.get_text()) <= CONNECTING


def test_nothing_hides_or_moves_by_an_attribute_that_is_taken_away(view):
    page = BeautifulSoup(bundle(view)["text/html"], "html.parser")
    assert page.select("[hidden]") == []
    assert [tag for tag in page(style=True) if re.search(r"display:\s*none|visibility", tag["style"])] == []


def test_every_part_of_a_picture_has_its_colours_without_a_style_sheet_and_is_seen_on_light_and_on_dark_pages(view):
    for tag, colours in painted(view):
        assert colours, f"nothing is seen of {tag}"
        for colour in set(colours) - {"currentColor"}:
            assert min(contrast(colour, page) for page in PAGES) >= PLAINEST, f"{colour} in {tag}"


def test_every_picture_has_a_size_and_a_sentence_of_its_own(view):
    for picture in stripped(view)("svg"):
        assert picture.has_attr("width") and picture.has_attr("height")
        assert picture.has_attr("aria-label") or picture.get("aria-hidden") == "true"
