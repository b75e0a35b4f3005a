"""Whatever bytes are handed in, the grader says in a line what is wrong with them, or grades what can be graded."""

from __future__ import annotations

import json
import random

import grading_corpus
import grading_course
import hypothesis
import pytest
from grading_course import RIGHT
from hypothesis import strategies

from labsupport.grading.assemble import Pristine
from labsupport.grading.notebooks import Unreadable, read
from tests.grading.classes import graded

PRISTINE = Pristine.of(grading_course.LESSON, grading_course.FOLDER)
TEN_MB = 10_000_000

calm = hypothesis.settings(
    deadline=None,
    max_examples=300,
    derandomize=True,  # the same each time; raise max_examples and take this away to search
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # the machine may be busy
)
scalars = strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text()
words = strategies.sampled_from(["id", "metadata", "nbgrader", "grade_id", "tags", "x-99-1", "check-99-1", "exercise"])
anything = strategies.recursive(
    scalars | words,
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
codes = strategies.sampled_from([*RIGHT.values(), *grading_course.STUBS.values(), "%time x", "def broken(:", "!ls"])
cells = strategies.fixed_dictionaries(
    {},
    optional={
        "cell_type": strategies.just("code") | anything,
        "id": words | anything,
        "metadata": strategies.fixed_dictionaries({"nbgrader": strategies.dictionaries(words, words)}) | anything,
        "source": codes | strategies.text() | strategies.lists(codes) | anything,
    },
)
notebooks = strategies.fixed_dictionaries(
    {"nbformat": strategies.sampled_from([3, 4]) | anything},
    optional={"cells": strategies.lists(cells, max_size=8) | anything, "worksheets": anything, "metadata": anything},
)


def taken(data: bytes) -> bool:
    """Whether something can be graded; where it cannot, the reason is one line of words."""
    try:
        found, odd = read(data)
    except Unreadable as error:
        assert len(str(error)) < 300 and len(str(error).split()) > 3 and "\n" not in str(error)
        return False
    assembled = PRISTINE.assemble(found)
    lines = [*odd, *(line for one in assembled for line in one.problems)]
    assert [one.exercise for one in assembled] == list(RIGHT)
    assert all(bool(one.parts) != bool(one.missing) for one in assembled)
    assert all("\n" not in line and line.encode() for line in lines)
    return True


@hypothesis.given(data=strategies.binary(max_size=400) | strategies.text(max_size=400).map(str.encode))
@calm
def test_no_bytes_are_too_odd_to_be_refused_in_words(data):
    assert not taken(data)


@hypothesis.given(whole=notebooks)
@calm
def test_no_json_is_too_odd_to_be_read(whole):
    taken(json.dumps(whole).encode())


@pytest.mark.parametrize("seed", range(20))
def test_no_mutated_notebook_stops_the_assembling(seed):
    made = grading_corpus.mutated(random.Random(seed))
    outcomes, size = set(), 0
    while size < TEN_MB // 20:
        data = next(made)
        outcomes.add(taken(data))
        size += len(data)
    assert outcomes == {True, False}


def ten_megabytes() -> dict[str, bytes]:
    """Files of 10 MB that are damaged in ways of their own."""
    draw = random.Random(7)
    whole = grading_corpus.notebook()
    text = "".join(draw.choices("abc \n'\"\\(", k=1000)) * (TEN_MB // 1000)
    picture = {"output_type": "display_data", "metadata": {}, "data": {"image/png": text}}
    (shows,) = [cell for cell in whole["cells"] if cell["id"] == "show"]
    large = bytearray(json.dumps({**whole, "cells": [{**shows, "outputs": [picture]}, *whole["cells"]]}).encode())
    for _ in range(1000):
        large[draw.randrange(len(large))] = draw.randrange(256)
    many = {"cell_type": "code", "id": "x-99-1", "metadata": {}, "outputs": [], "source": "x = 1\n" * 100}
    return {
        "random": draw.randbytes(TEN_MB),
        "mutated": bytes(large),
        "cut": json.dumps({**whole, "metadata": {"text": text}}).encode()[:-9],
        "deep": b'{"nbformat": 4, "cells": ' + b"[" * TEN_MB,
        "numbers": b'{"nbformat": 4, "cells": [' + b"1," * (TEN_MB // 2) + b"1]}",
        "many": json.dumps({**whole, "cells": [many] * (TEN_MB // 700)}).encode(),
        "one_cell": json.dumps({**whole, "cells": [{**many, "source": text}]}).encode(),
        "digits": b'{"nbformat": ' + b"4" * TEN_MB + b"}",
    }


def test_ten_megabytes_of_anything_get_a_line_and_harm_nobody(tmp_path):
    (tmp_path / "in").mkdir()
    files = ten_megabytes()
    for name, data in files.items():
        assert len(data) > 0.9 * TEN_MB
        (tmp_path / "in" / f"{name}_99_small.ipynb").write_bytes(data)
    (tmp_path / "in" / "ann_99_small.ipynb").write_text(json.dumps(grading_corpus.notebook()), "utf-8")
    found = graded([tmp_path / "in"], tmp_path / "out")
    assert {learner.name: learner.points for learner in found.learners if learner.points} == {"ann": 10}
    assert [name for name in files if not any(line.startswith(name) for line in found.problems)] == []
    assert all("\n" not in line and len(line) < 400 for line in found.problems)


def test_names_and_texts_that_no_file_can_hold_are_written_all_the_same(tmp_path):
    (tmp_path / "in").mkdir()
    says = "raise ValueError('\\ud800\\x00')"
    data = json.dumps(grading_corpus.notebook({"99.1": says})).encode()
    try:
        (tmp_path / "in" / "b\udcffb\n_99_small.ipynb").write_bytes(data)
    except OSError:
        pytest.skip("this file system takes no such name")
    found = graded([tmp_path / "in"], tmp_path / "out")
    assert [(learner.name, learner.points) for learner in found.learners] == [("b?b?", 8)]
    assert "ValueError: ?" in (tmp_path / "out" / "learners" / "b_b.html").read_text("utf-8")
