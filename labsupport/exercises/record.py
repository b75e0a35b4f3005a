"""The learner's own record: every check, hint and prediction as one JSON line in a dot-file beside the notebooks."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

FILE_NAME = ".lab-progress.jsonl"
ENVIRONMENT = "LAB_PROGRESS_FILE"


def path() -> pathlib.Path:
    """Where the record is: beside the notebook that runs, or where LAB_PROGRESS_FILE says."""
    return pathlib.Path(os.environ.get(ENVIRONMENT) or FILE_NAME)


def add(kind: str, **fields: Any) -> None:
    """Append one entry; a record that cannot be written never stops a lesson."""
    line = json.dumps({"kind": kind, "at": round(time.time(), 3), **fields}, ensure_ascii=False)
    try:
        with path().open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError:
        pass


def entries(kind: str) -> list[dict[str, Any]]:
    """All entries of one kind, oldest first; damaged lines are passed over."""
    try:
        lines = path().read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("kind") == kind:
            found.append(entry)
    return found
