"""g-counter: a counter that only grows, and is the sum of all that was added in the end."""

from __future__ import annotations

from labsupport.workloads.pn_counter import PnCounter


class GCounter(PnCounter):
    """As pn-counter, with numbers from 0 to 4."""

    name = "g-counter"
    lowest = 0
