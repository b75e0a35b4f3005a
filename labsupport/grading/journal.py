"""What has been graded so far: one JSON line for each verdict, appended, so that a grader that was killed can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Key = tuple[str, str, str, int]  # digest of the notebook, lesson, exercise, seed

FILE_NAME = "journal.jsonl"


class Journal:
    """The verdicts in a results folder; use it as a context manager.

    Args:
        folder: the results folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self.entries: dict[Key, dict[str, Any]] = {}
        self.seed: int | None = None
        good = 0
        for line, end in self._lines():
            try:
                entry = json.loads(line)
                self._take(entry)
            except (ValueError, KeyError, TypeError):
                continue  # half a line of a grader that was killed
            good = end
        self._file = open(self._path, "ab")  # noqa: SIM115 - closed by __exit__
        if self._path.stat().st_size > good:
            os.truncate(self._path, good)

    def _lines(self) -> Iterator[tuple[bytes, int]]:
        if self._path.exists():
            end = 0
            for line in self._path.read_bytes().splitlines(keepends=True):
                end += len(line)
                if line.endswith(b"\n"):
                    yield line, end

    def _take(self, entry: dict[str, Any]) -> None:
        if "seed" in entry:
            self.seed = int(entry["seed"])
        else:
            digest, lesson, exercise, seed = entry["key"]
            self.entries[digest, lesson, exercise, seed] = entry

    def begin(self, seed: int) -> None:
        """Write down the seed that a class is graded with."""
        if seed != self.seed:
            self._append({"seed": seed})

    def add(self, key: Key, told: dict[str, Any]) -> None:
        """Write down what a worker told about one exercise."""
        self._append({"key": list(key), **told})

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        self._take(entry)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
