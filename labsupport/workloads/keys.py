"""Which key comes next, where keys are worn out: each is written a bounded number of times, some far more often."""

from __future__ import annotations

import random

RARER = 0.5  # each key of the pool is drawn half as often as the one before


class Keys:
    """A pool of keys in use; the values written to one key are 1, 2, 3 ... so that each is unique for its key.

    Args:
        stream: random numbers.
        count: how many keys are in use at a time.
        most_writes: after so many writes a new key takes a key's place.

    >>> keys = Keys(random.Random(1), count=2, most_writes=2)
    >>> [keys.write() for _ in range(5)]
    [(0, 1), (1, 1), (1, 2), (0, 2), (3, 1)]
    """

    def __init__(self, stream: random.Random, count: int, most_writes: int) -> None:
        self._stream, self._most = stream, most_writes
        self._keys = list(range(count))
        self._weights = [RARER**place for place in range(count)]
        self._writes = dict.fromkeys(self._keys, 0)
        self._next = count

    def any(self) -> int:
        """A key in use."""
        return self._stream.choices(self._keys, self._weights)[0]

    def write(self) -> tuple[int, int]:
        """A key in use, and a value that nobody has written to it."""
        key = self.any()
        self._writes[key] += 1
        value = self._writes[key]
        if value >= self._most:
            del self._writes[key]
            self._keys[self._keys.index(key)] = self._next
            self._writes[self._next] = 0
            self._next += 1
        return key, value
