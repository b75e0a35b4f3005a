"""A notebook that was handed in, as cells: read without trust in any of its bytes."""

from __future__ import annotations

import collections
import dataclasses
import json
from typing import Any

LARGEST = 100_000_000  # bytes; pictures in outputs make a notebook large, and 50 MB have been seen
LONGEST_CELL = 200_000  # characters of code in one cell; what people write has a hundredth of that


class Unreadable(Exception):
    """Why a file is no notebook that can be graded, in words for the one who handed it in."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One code cell: its nbformat id, its nbgrader `grade_id` ("" where there is none), tags and text."""

    id: str
    grade_id: str
    tags: frozenset[str]
    source: str

    def is_called(self, name: str) -> bool:
        """Whether it is the cell of this name. A copied cell has a new id and keeps its metadata, so these win."""
        return name == (self.grade_id or self.id)


def read(data: bytes) -> tuple[list[Cell], list[str]]:
    """The code cells of an .ipynb file, and what is odd about it. An id that is there twice tells nothing.

    Raises:
        Unreadable: nothing in it can be graded.
    """
    if len(data) > LARGEST:
        raise Unreadable(f"the file has {len(data) / 1e6:.0f} MB; more than {LARGEST / 1e6:.0f} MB are not read")
    if not data.strip():
        raise Unreadable("the file is empty")
    text, odd = _decoded(data)
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"the file is no JSON and so no notebook ({str(error)[:120]}); it may be cut off") from None
    except (RecursionError, MemoryError):
        raise Unreadable("the file is no notebook: its brackets are nested too deep") from None
    cells = _cells(whole)
    found = [cell for cell in map(_cell, cells) if cell is not None]
    times = collections.Counter(cell.id for cell in found)
    found = [cell if times[cell.id] == 1 else dataclasses.replace(cell, id="") for cell in found]
    strange = sum(not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str) for cell in cells)
    if strange:
        odd.append(f"{strange} of its {len(cells)} cells are damaged and were passed over")
    return found, odd


def _decoded(data: bytes) -> tuple[str, list[str]]:
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        return data.decode("latin-1"), [f"byte {error.start} is not UTF-8; the file was read as Latin-1"]


def _cells(whole: Any) -> list[Any]:
    """The cells of nbformat 4, or those of nbformat 3, which are in worksheets."""
    version = whole.get("nbformat") if isinstance(whole, dict) else None
    if version == 3 and isinstance(whole.get("worksheets"), list):
        sheets = [sheet.get("cells") for sheet in whole["worksheets"] if isinstance(sheet, dict)]
        return [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if version != 4:
        raise Unreadable(f"the file is no notebook of a format that we know (nbformat is {str(version)[:20]}, not 4)")
    if not isinstance(whole.get("cells"), list):
        raise Unreadable("the file has no list of cells")
    return whole["cells"]


def _cell(raw: Any) -> Cell | None:
    if not isinstance(raw, dict) or raw.get("cell_type") != "code":
        return None
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    nbgrader = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
    tags = metadata.get("tags") if isinstance(metadata.get("tags"), list) else []
    source = raw.get("source", raw.get("input", ""))  # nbformat 3 says "input"
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return Cell(
        id=_text(raw.get("id")),
        grade_id=_text(nbgrader.get("grade_id")),
        tags=frozenset(tag for tag in tags if isinstance(tag, str)),
        source=_text(source)[:LONGEST_CELL],
    )


def _text(value: Any) -> str:
    """Text that can be written as UTF-8, whatever JSON has brought."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
