"""Broken, unlucky and hostile notebooks, each with the mark that it deserves.

A `Case` is the bytes of one notebook and the outcome of each exercise of `grading_course`; where nothing else is said,
the first exercise is the one that suffers and all others are right. `SECRETS` stands for what an attack looks for: the
test puts it where it must not be found.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import grading_course
from grading_course import RIGHT, STUBS

PASS, FAIL, BLANK = "pass", "fail", "not started"
CLOCK = RIGHT["99.1"]
WRONG = CLOCK.replace("+ 1", "").replace("+= 1", "+= 2")
ALL = tuple(RIGHT)


@dataclasses.dataclass(frozen=True)
class Case:
    """One notebook.

    Args:
        data: its bytes.
        outcomes: of each exercise; empty when the file as a whole cannot be graded.
        says: a part of a line that the instructor must find.
    """

    data: bytes
    outcomes: dict[str, str]
    says: str = ""


def cases(outside: dict[str, str]) -> dict[str, Case]:
    """All cases by name.

    Args:
        outside: what attacks look for: "secret" (a text), "file" (that holds it), "folder" (where that is), "results"
            (a file to spoil), "marker" (a file that must not come into being), "port" (a listener not to be reached).
    """
    return {name: make(outside) for name, make in _CASES.items()}


_CASES: dict[str, Callable[[dict[str, str]], Case]] = {}


def case(make: Callable[[dict[str, str]], Case]) -> Callable[[dict[str, str]], Case]:
    _CASES[make.__name__] = make
    return make


def _attack(name: str, outcome: str, where: str, body: str) -> None:
    """A case of ``attacks.txt``."""

    def make(outside: dict[str, str]) -> Case:
        text = body
        for key, value in outside.items():
            text = text.replace(f"OUTSIDE_{key}", value)
        return handed({"99.1": _placed(text, where)}, {"99.1": outcome})

    _CASES[name] = make


def _placed(body: str, where: str) -> str:
    """The first exercise's cell with the attack in its place."""
    if where == "tick":
        return CLOCK.replace("self.time += 1", body.replace("\n", "\n        "), 1)
    if where == "find":
        search = f"import os, glob, ctypes\n{body}".replace("\n", "\n    ")
        right = CLOCK.replace("\n", "\n    ")
        return f"def found():\n    {search}\nif found():\n    {right}\nelse:\n    class Clock: pass"
    return {"before": f"{body}\n{CLOCK}", "after": f"{CLOCK}\n{body}", "wrong": f"{body}\n{WRONG}", "alone": body}[
        where
    ]


def _read_attacks() -> None:
    text = (grading_course.FOLDER / "attacks.txt").read_text("utf-8")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("-----"))
    for section in text.split("\n== ")[1:]:
        heading, _, body = section.partition("\n")
        name, outcome, where = re.fullmatch(r"(\w+): (pass|fail), (\w+)", heading).groups()
        _attack(name, outcome, where, body.rstrip("\n"))


def notebook(answers: dict[str, str] | None = None) -> dict[str, Any]:
    """A notebook with right answers but for these."""
    return grading_course.notebook({**RIGHT, **(answers or {})})


def written(whole: Any) -> bytes:
    return json.dumps(whole).encode()


def handed(answers: dict[str, str], outcomes: dict[str, str], says: str = "") -> Case:
    return Case(written(notebook(answers)), {**dict.fromkeys(ALL, PASS), **outcomes}, says)


def changed(
    change: Callable[[list[dict[str, Any]]], Any], outcomes: dict[str, str] | None = None, says: str = ""
) -> Case:
    """A right notebook whose cells were changed in place (or replaced by what `change` returns)."""
    whole = notebook()
    whole["cells"] = change(whole["cells"]) or whole["cells"]
    return Case(written(whole), {**dict.fromkeys(ALL, PASS), **(outcomes or {})}, says)


def code(cells: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(cell for cell in cells if cell["id"] == name)


_read_attacks()


@case
def nests_brackets(_: dict[str, str]) -> Case:
    return handed({"99.1": "(" * 50_000}, {"99.1": FAIL})


@case
def has_a_null_byte(_: dict[str, str]) -> Case:
    return handed({"99.1": f"{CLOCK}\n\0"}, {"99.1": FAIL})


@case
def has_half_a_character(_: dict[str, str]) -> Case:
    return handed({"99.1": f"{CLOCK}\n# \ud800"}, {})


@case
def is_five_megabytes_of_code(_: dict[str, str]) -> Case:
    return handed({"99.1": "x = 1\n" * 800_000}, {"99.1": FAIL})


@case
def is_wrong(_: dict[str, str]) -> Case:
    return handed({"99.1": WRONG}, {"99.1": FAIL})


@case
def is_blank(_: dict[str, str]) -> Case:
    return Case(written(grading_course.notebook()), dict.fromkeys(ALL, BLANK))


@case
def is_right(_: dict[str, str]) -> Case:
    return handed({}, {})


@case
def needs_a_helper_of_its_own(_: dict[str, str]) -> Case:
    def change(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
        code(cells, "x-99-1")["source"] = CLOCK.replace("self.time += 1", "self.time = later(self.time)")
        own = {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "source": "step = 1\ndef later(time):\n    return time + step",
        }
        return [cells[0], {**own, "id": "mine", "execution_count": 3}, *cells[1:]]

    return changed(change)


@case
def helpers_were_deleted(_: dict[str, str]) -> Case:
    return changed(lambda cells: [cell for cell in cells if cell["id"] not in ("helpers", "setup")])


@case
def cells_were_moved(_: dict[str, str]) -> Case:
    return changed(lambda cells: cells[::-1])


@case
def checks_were_edited(_: dict[str, str]) -> Case:
    def change(cells: list[dict[str, Any]]) -> None:
        code(cells, "check-99-1")["source"] = "assert True"
        code(cells, "x-99-1")["source"] = WRONG

    return changed(change, {"99.1": FAIL}, "check cell check-99-1 was changed")


@case
def checks_were_deleted(_: dict[str, str]) -> Case:
    return changed(
        lambda cells: [cell for cell in cells if "check" not in cell["id"]], says="check cell check-99-1 is missing"
    )


@case
def a_check_claims_to_be_the_solution(_: dict[str, str]) -> Case:
    def change(cells: list[dict[str, Any]]) -> None:
        check = code(cells, "check-99-1")
        check["source"], check["metadata"]["nbgrader"]["solution"] = "pass", True

    return changed(change, says="was changed")


@case
def a_check_claims_points(_: dict[str, str]) -> Case:
    return changed(lambda cells: code(cells, "check-99-1")["metadata"]["nbgrader"].update(points=100))


@case
def an_exercise_is_missing(_: dict[str, str]) -> Case:
    return changed(
        lambda cells: [cell for cell in cells if cell["id"] != "x-99-3"],
        {"99.3": BLANK},
        "exercise cell x-99-3 is missing",
    )


@case
def an_exercise_is_there_twice(_: dict[str, str]) -> Case:
    return changed(
        lambda cells: [*cells, {**code(cells, "x-99-1"), "id": "a-copy"}], says="exercise cell x-99-1 is there 2 times"
    )


@case
def the_stub_was_kept_below_a_copy(_: dict[str, str]) -> Case:
    def change(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stub = {**code(cells, "x-99-1"), "id": "a-copy", "source": STUBS["99.1"]}
        return [*cells, stub]

    return changed(change, says="there 2 times")


@case
def the_answer_is_in_another_cell(_: dict[str, str]) -> Case:
    def change(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stub = code(cells, "x-99-1")
        mine = {**stub, "id": "mine", "metadata": {}, "source": CLOCK}
        stub["source"] = STUBS["99.1"]
        return [*cells, mine]

    return changed(change, says="other cells define it")


@case
def every_cell_has_the_same_id(_: dict[str, str]) -> Case:
    return changed(lambda cells: [{**cell, "id": "x-99-1"} for cell in cells])


@case
def ids_are_gone(_: dict[str, str]) -> Case:
    return changed(lambda cells: [{name: cell[name] for name in cell if name != "id"} for cell in cells])


@case
def metadata_is_gone(_: dict[str, str]) -> Case:
    return changed(lambda cells: [{**cell, "metadata": {}} for cell in cells])


@case
def ids_and_metadata_are_gone(_: dict[str, str]) -> Case:
    return changed(
        lambda cells: [{**{name: cell[name] for name in cell if name != "id"}, "metadata": {}} for cell in cells],
        says="other cells define it",
    )


@case
def has_a_picture_of_20_megabytes(_: dict[str, str]) -> Case:
    data = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * 20_000_000}}
    return changed(lambda cells: code(cells, "show")["outputs"].append(data))


@case
def is_of_format_3(_: dict[str, str]) -> Case:
    cells = [{**cell, "input": cell["source"]} if cell["cell_type"] == "code" else cell for cell in notebook()["cells"]]
    whole = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells, "metadata": {}}]}
    return Case(written(whole), dict.fromkeys(ALL, PASS))


@case
def is_latin_1(_: dict[str, str]) -> Case:
    text = json.dumps(notebook({"99.1": f"{CLOCK}\n# grüß dich"}), ensure_ascii=False)
    return Case(text.encode("latin-1"), dict.fromkeys(ALL, PASS), "not UTF-8")


@case
def begins_with_a_byte_order_mark(_: dict[str, str]) -> Case:
    return Case(b"\xef\xbb\xbf" + written(notebook()), dict.fromkeys(ALL, PASS))


@case
def a_cell_is_a_number(_: dict[str, str]) -> Case:
    return changed(lambda cells: [*cells, 5, None, {"cell_type": "code", "source": 7, "metadata": 3}], says="damaged")


def unreadable(name: str, data: bytes, says: str) -> None:
    _CASES[name] = lambda _: Case(data, {}, says)


unreadable("is_empty", b"", "is empty")
unreadable("is_cut_off", written(notebook())[:1500], "cut off")
unreadable("is_of_format_99", written({**notebook(), "nbformat": 99}), "nbformat is 99")
unreadable("is_a_list", b"[1, 2]", "no notebook of a format")
unreadable("is_nested_deep", b'{"nbformat": 4, "cells": ' + b"[" * 200_000, "no")
unreadable("has_no_cells", b'{"nbformat": 4, "cells": 7}', "no list of cells")
unreadable("is_a_picture", bytes(range(256)) * 40, "no JSON")
unreadable(
    "is_of_another_course",
    written({"nbformat": 4, "cells": [{"cell_type": "code", "source": "1"}]}),
    "none of its cells",
)


def mutated(draw: Any) -> Iterator[bytes]:
    """Without end: notebooks with something changed by chance, and bytes that never were one."""
    while True:
        whole = notebook()
        for _ in range(draw.randrange(1, 6)):
            _damage(whole, draw)
        data = bytearray(json.dumps(whole).encode())
        for _ in range(draw.choice([0, 0, 1, 5])):
            place = draw.randrange(len(data))
            data[place : place + draw.randrange(8)] = draw.randbytes(draw.randrange(8))
        yield bytes(data)
        yield draw.randbytes(draw.randrange(5000))


def _damage(value: Any, draw: Any) -> None:
    """Change one place somewhere inside."""
    odd = [None, True, -1, 1e308, "", "x" * 50, "\ud800", [], {}, [[]], {"": {}}]
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        if not keys:
            return
        key = draw.choice(list(keys))
        if isinstance(value[key], (dict, list)) and draw.random() < 0.8:
            value = value[key]
            continue
        action = draw.randrange(3)
        if action == 0:
            value[key] = draw.choice(odd)
        elif action == 1:
            del value[key]
        elif isinstance(value, list):
            value.insert(key, draw.choice([*odd, value[key]]))
        else:
            value[draw.choice(["id", "metadata", "source", "cell_type", "x"])] = draw.choice(odd)
        return
