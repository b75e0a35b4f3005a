"""A benchmark's rows become a table or one JSON document, and a goal that does not hold is exit status 1."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from labsupport import bench, environment
from labsupport.errors import LabBug, LearnerError

ROWS = """
def rows(quick=False):
    return [
        {"case": "plain", "value": 3 if quick else 5, "unit": "ms"},
        {"case": "better", "value": 2.0, "unit": "ms", "baseline": "before", "baseline_value": 8.0,
         "goal": "at most a third", "holds": %s},
    ]
"""

PARTS = """
def rows(quick=False, part=""):
    return [{"case": case, "value": 1, "unit": "ms"} for case in "ab" if part in case]


def picture(rows, path):
    path.write_text("".join(row["case"] for row in rows))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bench_good.py").write_text(ROWS % True)
    (tmp_path / "bench_poor.py").write_text(ROWS % False)
    return tmp_path


def test_the_document_has_every_key_of_every_row_and_nothing_else_is_printed(folder, capsys):
    assert bench.run(["good"], as_json=True, quick=True, folder=folder) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"machine", "rows"}
    assert [set(row) for row in document["rows"]] == [set(bench.KEYS)] * 2
    assert [row["value"] for row in document["rows"]] == [3, 2.0]
    assert [row["ratio"] for row in document["rows"]] == [None, 0.25]


def test_a_goal_that_does_not_hold_is_status_1(folder, capsys):
    assert bench.run([], as_json=False, folder=folder) == 1
    shown = capsys.readouterr().out
    assert "NO" in shown
    assert "before: 8 ms" in shown


def test_a_part_of_a_benchmark_is_measured_told_at_once_and_drawn(folder, capsys, tmp_path):
    (folder / "bench_parts.py").write_text(PARTS)
    assert bench.run(["parts/b"], as_json=True, picture=tmp_path / "picture", folder=folder) == 0
    shown = capsys.readouterr()
    assert [row["case"] for row in json.loads(shown.out)["rows"]] == ["b"]
    assert "b: 1 ms" in shown.err
    assert (tmp_path / "picture").read_text() == "b"


def test_an_unknown_benchmark_names_those_that_there_are(folder):
    with pytest.raises(LearnerError) as caught:
        bench.run(["fast"], as_json=True, folder=folder)
    assert caught.value.do == "choose from: good, poor"


def test_a_row_with_strange_keys_is_a_bug_of_the_course(folder):
    (folder / "bench_good.py").write_text("def rows(quick=False):\n    return [{'case': 'x', 'time': 1}]\n")
    with pytest.raises(LabBug):
        bench.run(["good"], as_json=True, folder=folder)


def test_the_machine_is_described_without_its_name():
    assert set(bench.machine()) == {"system", "release", "processor", "cores", "python"}


@pytest.mark.parametrize("name", bench.names())
def test_a_benchmark_can_be_the_first_command_in_a_fresh_copy(name):
    """What it needs beside the course's own packages it brings itself, when it needs it."""
    extras = environment.extras()
    later = {re.split(r"[\[=]", wanted)[0] for extra in extras.keys() - {"dev"} for wanted in extras[extra]}
    modules = [module for module, owners in packages_distributions().items() if later.issuperset(owners)]
    assert {"boto3", "cassandra", "confluent_kafka", "pyspark"} <= set(modules)
    hide = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"  # to import one of these fails
    load = f"from labsupport import bench; assert bench.rows_of({name!r})"
    done = subprocess.run([sys.executable, "-c", f"{hide}; {load}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
