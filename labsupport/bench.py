"""Benchmarks: find them, run them, show their rows as a table or as one JSON document.

A benchmark is a file ``tests/bench/bench_<name>.py`` with a function ``rows(quick: bool = False) -> list[dict]``, which
may take a ``part`` as well (``bench name/part``); it may have a function ``picture(rows, path)`` beside it. A row has
these keys; a row without a baseline or a goal leaves those out:

    case            what was measured
    value, unit     the result
    baseline        what it is compared with, measured alternately with it in the same run
    baseline_value  the baseline's result, same unit
    ratio           value / baseline_value
    goal, holds     what we promise, in words, and whether this run kept it
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from labsupport.errors import LabBug, LearnerError

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "bench"
KEYS = ("bench", "case", "value", "unit", "baseline", "baseline_value", "ratio", "goal", "holds")
HOLDS = {True: "yes", False: "NO", None: ""}


def names(folder: Path = FOLDER) -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py"))


def run(
    chosen: Sequence[str], *, as_json: bool, quick: bool = False, picture: Path | None = None, folder: Path = FOLDER
) -> int:
    """Run benchmarks and show their rows; 1 if a row does not hold its goal, else 0.

    Args:
        chosen: names of benchmarks, or "name/part"; none means all.
        as_json: one JSON document on standard output instead of a table.
        quick: fewer repetitions.
        picture: where to draw the rows of the last benchmark, .svg or .png.
        folder: where the benchmarks are.
    """
    there = names(folder)
    unknown = [name for name in chosen if name.partition("/")[0] not in there]
    if unknown:
        raise LearnerError(
            f"There is no benchmark called {', '.join(unknown)}.", do=f"choose from: {', '.join(there) or 'none yet'}"
        )
    rows = []
    for wanted in chosen or there:
        name, _, part = wanted.partition("/")
        print(f"measuring {wanted} ...", file=sys.stderr, flush=True)
        benchmark = _load(name, folder)
        for row in benchmark.rows(quick=quick, **({"part": part} if part else {})):
            rows.append(_complete(name, row))
            print(f"  {_said(rows[-1])}", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=1, ensure_ascii=False))
    else:
        _show(rows)
    if picture is not None:
        benchmark.picture([row for row in rows if row["bench"] == name], picture)
    return int(any(row["holds"] is False for row in rows))


def machine() -> dict:
    """What the numbers were measured on, without the machine's name."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
    }


def rows_of(name: str, folder: Path = FOLDER):
    """The function that makes a benchmark's rows."""
    return _load(name, folder).rows


def _load(name: str, folder: Path) -> ModuleType:
    path = folder / f"bench_{name}.py"
    spec = importlib.util.spec_from_file_location(f"labsupport_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # so that what the benchmark defines can be pickled
    spec.loader.exec_module(module)
    return module


def _complete(name: str, row: dict) -> dict:
    strange = sorted(set(row) - set(KEYS))
    if strange or not {"case", "value", "unit"} <= set(row):
        raise LabBug(f"A row of the benchmark {name} has {sorted(row)}.", do=f"use these keys: {', '.join(KEYS)}")
    full = {key: None for key in KEYS} | row | {"bench": name}
    if full["ratio"] is None and full["baseline_value"]:
        full["ratio"] = round(full["value"] / full["baseline_value"], 4)
    return full


def _said(row: dict) -> str:
    """A row as it is told when it has been measured, so that a run that is stopped has told what it found."""
    ratio = f", ratio {_number(row['ratio'])}" if row["ratio"] else ""
    goal = f" ({row['goal']}: {HOLDS[row['holds']]})" if row["goal"] else ""
    return f"{row['case']}: {_number(row['value'], row['unit'])}{ratio}{goal}"


def _show(rows: Sequence[dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("bench", "case", box=None, header_style="bold")
    for title in ("value", "baseline", "ratio"):
        table.add_column(title, justify="right")
    table.add_column("goal")
    table.add_column("holds")
    for row in rows:
        table.add_row(
            row["bench"],
            row["case"],
            _number(row["value"], row["unit"]),
            f"{row['baseline']}: {_number(row['baseline_value'], row['unit'])}" if row["baseline"] else "",
            _number(row["ratio"]),
            row["goal"] or "",
            HOLDS[row["holds"]],
        )
    Console().print(table)


def _number(value, unit: str = "") -> str:
    if not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    return f"{value:,.4g} {unit}".strip() if abs(value) < 10_000 else f"{value:,.0f} {unit}".strip()
