"""The picture of a history marks what proves an anomaly, shows an order where there is one, and says both in words."""

from __future__ import annotations

import html
import random
import re
import xml.dom.minidom

from labsupport.checkers.linearizability import linearizable
from labsupport.history import Ending, History, Operation
from labsupport.view.history_picture import MOST, HistoryPicture

STALE = History(
    [
        Operation("a", "write", value=1, called=0, returned=1),
        Operation("a", "write", value=2, called=2, returned=4),
        Operation("b", "read", result=2, called=3, returned=5),
        Operation("b", "read", result=1, called=6, returned=7),
        Operation("c", "write", value="<9>", called=0.5, ending=Ending.UNKNOWN),
        Operation("c", "write", value=10, called=2.5, returned=3.5, ending=Ending.FAILED),
    ]
)
GOOD = History(
    [
        Operation("a", "write", value=1, called=0, returned=3),
        Operation("b", "read", called=1, returned=2),
        Operation("b", "read", result=1, called=2.5, returned=5),
        Operation("c", "cas", value=(1, 2), result=True, called=2, returned=6),
        Operation("a", "read", result=2, called=5.5, returned=7),
    ]
)


def drawing(picture: HistoryPicture) -> xml.dom.minidom.Document:
    return xml.dom.minidom.parseString(re.search(r"<svg.*?</svg>", picture.html(), re.S)[0])


def boxes(picture: HistoryPicture) -> dict[str, xml.dom.minidom.Element]:
    """The frames by the operation that their tooltips name."""
    groups = drawing(picture).getElementsByTagName("g")
    return {g.getElementsByTagName("title")[0].firstChild.data: g.getElementsByTagName("path")[0] for g in groups}


def test_the_operations_of_the_proof_are_numbered_and_framed():
    finding = linearizable(STALE)
    picture = HistoryPicture(STALE, finding)
    thick = {name for name, frame in boxes(picture).items() if frame.getAttribute("stroke-width") == "3"}
    assert thick == {repr(operation) for operation in finding.anomalies[0].operations}
    assert set(boxes(picture)) == {repr(operation) for operation in STALE}
    numbers = [node.firstChild.data for node in drawing(picture).getElementsByTagName("tspan") if node.firstChild]
    assert sorted(numbers) == ["1.", "2.", "3."]


def test_the_sentence_and_every_reason_stand_beside_it_and_in_the_text():
    finding = linearizable(STALE)
    picture = HistoryPicture(finding)
    bundle = picture._repr_mimebundle_()
    page = html.unescape(bundle["text/html"].split("The same as text")[0])
    for said in (finding.anomalies[0].summary, *finding.anomalies[0].reasons):
        assert said in page and said in bundle["text/plain"]
    assert len(picture.shown) == len(finding.anomalies[0].operations)


def test_endings_differ_in_form():
    frames = {name.split(":")[1].split(" [")[0].strip(): frame for name, frame in boxes(HistoryPicture(STALE)).items()}
    unknown, failed, known = frames["write('<9>') -> ?"], frames["write(10) -> failed"], frames["write(1)"]
    assert len({frame.getAttribute("stroke-dasharray") for frame in (unknown, failed, known)}) == 3
    assert not unknown.getAttribute("d").endswith("z") and known.getAttribute("d").endswith("z")


def test_the_moments_of_a_witness_stand_in_its_order_inside_their_operations():
    finding = linearizable(GOOD, witness=True)
    picture = HistoryPicture(GOOD, finding)
    shapes = boxes(picture)
    before = 0.0
    assert len(finding.witness) == len(GOOD)
    for number, operation in enumerate(finding.witness, 1):
        at = float(
            re.match(r"M([\d.]+)", shapes[f"{number}. takes effect here: {operation.text}"].getAttribute("d"))[1]
        )
        end, begin = map(
            float, re.match(r"M([\d.]+) [\d.]+H([\d.]+)", shapes[repr(operation)].getAttribute("d")).groups()
        )
        assert before < at and begin < at < end
        before = at


def test_of_a_long_history_what_is_near_the_proof_is_shown():
    draw, operations = random.Random(3), []
    for number in range(300):
        for client in "abc":
            began = number * 10 + draw.random()
            operations.append(Operation(client, "write", "x", (number, client), None, began, began + 3 + draw.random()))
    operations.append(Operation("d", "read", "x", None, (5, "a"), 2001, 2002))
    finding = linearizable(History(operations))
    picture = HistoryPicture(History(operations), finding)
    assert set(map(repr, picture.marked)) <= set(map(repr, picture.shown))
    assert len(picture.shown) == MOST and picture.left_out == len(operations) - MOST
    assert f"{picture.left_out:,} other operations are not shown" in picture.html()


def test_a_history_without_operations_is_no_error():
    assert HistoryPicture(History()).text == ""
    assert "an order" in HistoryPicture(History(), linearizable(History())).html()
