"""Graphs of dependencies between transactions, and the shortest cycles in them, by the kind of their edges.

Source: A. Adya, *Weak Consistency: A Generalized Theory and Optimistic Implementations for Distributed Transactions*,
MIT 1999; K. Kingsbury and P. Alvaro, *Elle: Inferring Isolation Anomalies from Experimental Observations*, VLDB 2020.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from labsupport.history import Ending, Operation

WW, WR, RW, PROCESS, REALTIME = "ww", "wr", "rw", "process", "realtime"


class Dependencies:
    """Which transaction has to come before which, and why; transactions are numbers."""

    def __init__(self, count: int) -> None:
        self.after: list[dict[int, dict[str, str]]] = [{} for _ in range(count)]

    def add(self, before: int, after: int, kind: str, why: str) -> None:
        """One transaction has to come before another; one never depends on itself."""
        if before != after:
            self.after[before].setdefault(after, {}).setdefault(kind, why)

    def reachable(self, kinds: frozenset[str]) -> Callable[[int], Iterable[int]]:
        """The neighbours by edges of some kinds only."""

        def following(number: int) -> Iterator[int]:
            return (other for other, why in self.after[number].items() if not kinds.isdisjoint(why))

        return following

    def why(self, before: int, after: int, kinds: Iterable[str]) -> tuple[str, str]:
        """The kind and the reason of an edge, the first of these kinds that it has."""
        reasons = self.after[before][after]
        return next((kind, reasons[kind]) for kind in kinds if kind in reasons)


def components(count: int, following: Callable[[int], Iterable[int]]) -> list[list[int]]:
    """The strongly connected components of more than one node (R. Tarjan, SIAM J. Computing 1, 1972)."""
    index, low = [-1] * count, [0] * count
    on_stack, stack, found, counter = [False] * count, [], [], 0
    for root in range(count):
        if index[root] >= 0:
            continue
        work = [(root, iter(following(root)))]
        index[root] = low[root] = counter
        counter += 1
        stack.append(root)
        on_stack[root] = True
        while work:
            node, others = work[-1]
            for other in others:
                if index[other] < 0:
                    index[other] = low[other] = counter
                    counter += 1
                    stack.append(other)
                    on_stack[other] = True
                    work.append((other, iter(following(other))))
                    break
                if on_stack[other]:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack[member] = False
                        component.append(member)
                        if member == node:
                            break
                    if len(component) > 1:
                        found.append(sorted(component))
    return found


def shortest_path(start: int, goal: int, within: set[int], following, longest: int) -> list[int] | None:
    """The nodes of a shortest path, both ends included; None if there is none of at most so many nodes."""
    came_from, depth = {start: start}, {start: 1}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        if node == goal:
            path = [node]
            while path[-1] != start:
                path.append(came_from[path[-1]])
            return path[::-1]
        if depth[node] == longest:
            continue
        for other in following(node):
            if other in within and other not in came_from:
                came_from[other], depth[other] = node, depth[node] + 1
                waiting.append(other)
    return None


def shortest_cycle(graph: Dependencies, closing: str, kinds: frozenset[str], rest: frozenset[str]) -> list[int] | None:
    """The shortest cycle with an edge of the kind `closing` whose other edges are of the kinds `rest`.

    Args:
        graph: the dependencies.
        closing: the kind of one edge.
        kinds: all kinds of edges that may be on the cycle, to look in strongly connected components only.
        rest: the kinds of the other edges.

    Returns the nodes, beginning with the closing edge: its start, its end, and so on round.
    """
    best: list[int] | None = None
    following = graph.reachable(rest)
    for component in components(len(graph.after), graph.reachable(kinds)):
        within = set(component)
        for node in component:
            for other, why in graph.after[node].items():
                if other in within and closing in why:
                    longest = len(within) if best is None else len(best) - 1
                    path = shortest_path(other, node, within, following, longest)
                    if path is not None:
                        best = [node, *path[:-1]]
                        if len(best) == 2:
                            return best
    return best


def add_process_order(graph: Dependencies, transactions: Sequence[Operation]) -> None:
    """Each client's transactions follow one another; of one without an answer nobody knows when it took effect."""
    last: dict = {}
    for number, operation in enumerate(transactions):
        if operation.client in last:
            before = last[operation.client]
            graph.add(before, number, PROCESS, f"{operation.client} had called it earlier")
        if operation.ending is Ending.OK:
            last[operation.client] = number


def add_real_time_order(graph: Dependencies, transactions: Sequence[Operation]) -> None:
    """A transaction that returned before another was called comes first; edges that follow from others are left out."""
    moments = [(operation.called, 0, number) for number, operation in enumerate(transactions)]
    for number, operation in enumerate(transactions):
        if operation.ending is Ending.OK:
            moments.append((operation.returned, 1, number))
    recent: set[int] = set()  # returned, and nothing that was called after them has returned
    before: dict[int, frozenset[int]] = {}
    for _, is_return, number in sorted(moments):
        if is_return:
            recent -= before[number]
            recent.add(number)
            continue
        before[number] = frozenset(recent)
        called = transactions[number].called
        for other in sorted(recent):
            graph.add(
                other,
                number,
                REALTIME,
                f"it returned ({transactions[other].returned}) before that one was called ({called})",
            )
