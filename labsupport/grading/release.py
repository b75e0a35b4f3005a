"""Make the learners' notebooks from the solved ones, the same bytes each time.

In a code cell of a solved notebook, nbgrader's own markers enclose what a learner is to write, and lines that begin
with ``#: `` inside them are what the learner finds instead:

    def answer(message):
        ### BEGIN SOLUTION
        #: raise NotImplementedError("say what comes back")
        return message
        ### END SOLUTION

A cell tagged ``exercise`` becomes nbgrader's *autograded answer*, one tagged ``check`` its *autograder tests*
(https://nbgrader.readthedocs.io/en/stable/contributor_guide/metadata.html); one tagged ``instructor-only`` is left out.
"""

from __future__ import annotations

import argparse
import ast
import pathlib
import re
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import nbformat

from labsupport.errors import LabBug, LearnerError
from labsupport.exercises import catalogue

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOLUTIONS, LESSONS = ROOT / "solutions", ROOT / "lessons"

BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "#:"
FOR_LEARNERS = (
    "README.md",
    "LICENSE",
    "requirements.txt",
    "pyproject.toml",
    "docker-compose.yml",
    "lessons",
    "labsupport",
)
DAY_ONE = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold
CELL_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
KEPT_METADATA = ("tags", "jp-MarkdownHeadingCollapsed")
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def learners_text(solved: str) -> str:
    """The learners' notebook for a solved one, both as the text of an .ipynb file.

    Raises:
        LabBug: the solved notebook breaks the rules above; the message names the cell.
    """
    notebook = nbformat.v4.reads(solved)  # nbformat.reads would quietly mend ids that are there twice
    cells, seen = [], set()
    for cell in notebook.cells:
        cell_id = cell.get("id", "")
        if not CELL_ID.fullmatch(cell_id) or cell_id in seen:
            raise LabBug(
                f"the cell id {cell_id!r} is {'there twice' if cell_id in seen else 'not readable'}",
                do="give every cell an id of its own, of small letters, digits and hyphens",
            )
        seen.add(cell_id)
        tags = cell.metadata.get("tags", [])
        if "instructor-only" in tags:
            continue
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT_METADATA if key in cell.metadata})
        if cell.cell_type == "code":
            cell.source = without_solution(cell.source, cell_id)
            cell.outputs, cell.execution_count = [], None
        cell.metadata.update(_nbgrader(cell_id, tags, cell.source))
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook, indent=1) + "\n"


def without_solution(source: str, cell_id: str) -> str:
    """The source of a code cell with its solution regions replaced by their stubs."""
    kept: list[str] = []
    stub: list[str] | None = None  # the stub's lines while inside a region
    indent = ""
    for line in source.split("\n"):
        mark = line.strip()
        if mark == BEGIN and stub is None:
            stub, indent = [], line[: len(line) - len(line.lstrip())]
        elif mark == END and stub is not None:
            kept += [indent + text for text in stub or ['raise NotImplementedError("your code here")']]
            stub = None
        elif mark in (BEGIN, END) or "BEGIN SOLUTION" in line or "END SOLUTION" in line:
            raise LabBug(
                f"cell {cell_id}: {line!r} is out of place", do=f"pair {BEGIN!r} with {END!r}, each on a line alone"
            )
        elif stub is None:
            kept.append(line)
        elif mark.startswith(STUB):
            stub.append(mark.removeprefix(STUB).removeprefix(" "))
    if stub is not None:
        raise LabBug(f"cell {cell_id}: {BEGIN!r} is never closed", do=f"add {END!r}")
    return "\n".join(kept)


def checked_exercise(source: str) -> catalogue.Exercise:
    """The exercise that a check cell calls `check` for."""
    call = ast.parse(source).body[-1]
    return catalogue.find(ast.literal_eval(call.value.args[0]))


def _nbgrader(cell_id: str, tags: list[str], source: str) -> dict[str, Any]:
    """The metadata of an exercise or check cell: nbgrader's, and JupyterLab's locks that match it."""
    graded = {"schema_version": 3, "grade_id": cell_id, "task": False}
    if "exercise" in tags:
        return {"deletable": False, "nbgrader": {**graded, "grade": False, "solution": True, "locked": False}}
    if "check" in tags:
        points = checked_exercise(source).points
        return {
            "deletable": False,
            "editable": False,
            "nbgrader": {**graded, "grade": True, "solution": False, "locked": True, "points": points},
        }
    return {}


def outdated() -> dict[pathlib.Path, str | None]:
    """Every file of lessons/ that solutions/ does not give, with the text that it should have, or None for no file."""
    wanted = {LESSONS / path.name: learners_text(path.read_text("utf-8")) for path in sorted(SOLUTIONS.glob("*.ipynb"))}
    stray = {path: None for path in LESSONS.glob("*.ipynb") if path not in wanted}
    differing = {path: text for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}
    return {**differing, **stray}


def bundle(folder: pathlib.Path) -> list[str]:
    """Write what learners get, no solutions and no tests, to a new folder and to a zip file beside it.

    Returns:
        The names of the files. The zip file is the same, byte for byte, when they are.

    Raises:
        LearnerError: the folder exists and is not empty, or the zip file is there.
    """
    files = given_out()
    pack(folder, files, f"{folder.name}/")
    return list(files)


def given_out() -> dict[str, bytes]:
    """The files that learners get, by their names from the course's root."""
    places = [ROOT / name for name in FOR_LEARNERS if (ROOT / name).exists()]
    paths = [path for place in places for path in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    kept = [path for path in paths if path.is_file() and _is_given_out(path.relative_to(ROOT))]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in kept}


def pack(folder: pathlib.Path, files: Mapping[str, bytes], inside: str = "") -> None:
    """Write files to a new folder, and to a zip file beside it, there below `inside`; scripts may be executed.

    Raises:
        LearnerError: the folder exists and is not empty, or the zip file is there.
    """
    archive = folder.with_name(f"{folder.name}.zip")
    if archive.exists() or (folder.exists() and any(folder.iterdir())):
        raise LearnerError(f"{folder} or {archive} is there already", do="remove it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            path, entry = folder / name, zipfile.ZipInfo(f"{inside}{name}", DAY_ONE)
            mode = 0o755 if data.startswith(b"#!") else 0o644
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(mode)
            entry.external_attr = mode << 16
            file.writestr(entry, data, zipfile.ZIP_DEFLATED)


def _is_given_out(path: pathlib.Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return not hidden and path.suffix not in (".pyc", ".pyo")


def main(args: argparse.Namespace) -> int:
    """``release``: write lessons/ from solutions/; with ``--check``: only say whether they agree (status 1 if not).

    With ``--for-learners DIR`` also write `bundle`.
    """
    changes = outdated()
    for path, text in changes.items():
        name = path.relative_to(ROOT)
        if args.check:
            print(f"{name} is not what solutions/ gives: run python3 -m labsupport release", file=sys.stderr)
        elif text is None:
            path.unlink()
            print(f"removed {name}: there is no solution of that name")
        else:
            path.write_text(text, "utf-8")
            print(f"wrote {name}")
    if not changes:
        print("lessons/ is what solutions/ gives")
    if args.for_learners and not (args.check and changes):
        names = bundle(args.for_learners)
        print(f"wrote {len(names)} files to {args.for_learners} and {args.for_learners}.zip")
    return int(args.check and bool(changes))
