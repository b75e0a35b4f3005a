"""What a node has saved: a journal on the real disk, one line for each `ctx.save`."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

COMPACT_BYTES = 1_000_000  # a journal that is smaller than this is never written anew


class Disk(dict):
    """The saved values by name; they outlive the process when there is a file.

    A line that was finished is safe when a node is killed: the system has it. (A power cut is no fault that we make,
    so nothing waits for the platter.) A line that was cut short by the kill has not been saved, nor has any part of it.

    Args:
        path: the journal; None keeps everything in memory.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        super().__init__()
        self._path, self._fd, self._size, self._compact_at = path, -1, 0, COMPACT_BYTES
        if path is None:
            return
        whole = path.read_bytes() if path.exists() else b""
        *lines, torn = whole.split(b"\n")
        for line in lines:
            self.update(json.loads(line))
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = len(whole) - len(torn)
        os.ftruncate(self._fd, self._size)

    def save(self, values: dict[str, Any]) -> None:
        """Save plain values, all or none."""
        if self._fd >= 0:
            self._append(_line(values))
        self.update(values)
        if self._size > self._compact_at:
            self._compact()

    def _append(self, line: bytes) -> None:
        self._size += len(line)
        while line:
            line = line[os.write(self._fd, line) :]

    def _compact(self) -> None:
        """Write a journal that says the same in one line."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(_line(self))
        os.replace(fresh, self._path)
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._fd).st_size
        self._compact_at = max(COMPACT_BYTES, 4 * self._size)


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
