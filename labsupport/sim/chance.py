"""A node's random numbers in a world that is led step by step: what is drawn in a step is noted and can be given again.

So a step means the same when earlier ones have been left out: else a client that has been refused once less would ask
another node for something else from then on.
"""

from __future__ import annotations

import random

Drawn = tuple[float | int, ...]


class Chance(random.Random):
    """The stream of numbers that its seed gives, except where others are given.

    Attributes:
        drawn: what has been drawn since `give`, in the order of the calls.
    """

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self.give(())

    def give(self, numbers: Drawn) -> None:
        """Let the next draws have these results, as long as they fit; then the stream goes on."""
        self.drawn: list[float | int] = []
        self._given = list(reversed(numbers))

    def random(self) -> float:
        given = self._given
        number = given.pop() if given and type(given[-1]) is float else super().random()
        self.drawn.append(number)
        return number

    def getrandbits(self, k: int) -> int:
        given = self._given
        fits = given and type(given[-1]) is int and given[-1].bit_length() <= k
        number = given.pop() if fits else super().getrandbits(k)
        self.drawn.append(number)
        return number
