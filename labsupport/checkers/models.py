"""Sequential models: what each object does when it is asked one thing at a time.

A model says what a correct object answers; a history is linearizable if some order of its operations, in which nothing
moves out of the interval between its call and its return, is a run of the model.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from labsupport.checkers.values import canonical
from labsupport.history import Ending, Operation

IMPOSSIBLE = object()
EMPTY = None  # what a dequeue from an empty queue returns


class Model:
    """The base of all models; subclass it for an object of your own.

    A subclass sets `looks`, the kinds of operation that never change the state, perhaps `resets`, the kinds after which
    the state is the same whatever it was before, and defines `step`.

    Args:
        initial: the state at the start; states are hashable.

    >>> class Light(Model):
    ...     "A lamp that is switched and looked at."
    ...     looks = frozenset({"look"})
    ...     def step(self, state, operation):
    ...         if operation.kind == "switch":
    ...             return not state
    ...         return state if operation.result == state else IMPOSSIBLE
    >>> Light(False).step(True, Operation("c1", "look", result=False, called=1, returned=2)) is IMPOSSIBLE
    True
    """

    name = "model"
    looks: frozenset[str] = frozenset()
    resets: frozenset[str] = frozenset()

    def __init__(self, initial: Hashable = None) -> None:
        self.initial = initial

    def step(self, state: Any, operation: Operation) -> Any:
        """The state after the operation, or `IMPOSSIBLE` if it cannot have had its result in this state.

        An operation whose ending is UNKNOWN has no result: say what it does if it takes effect. Never change `state`.
        """
        raise NotImplementedError

    def leads_to(self, state: Any, look: Operation) -> bool:
        """Whether changes other than those of the kinds `resets` may still bring the state to one that explains `look`.

        A hint that spares the search hopeless branches; True is always right.
        """
        return True

    def part(self, operation: Operation) -> Hashable:
        """Which independent part of the object the operation concerns; parts are checked one by one."""
        return canonical(operation.key)


class Register(Model):
    """One value for each key: "read", "write", "cas" with the value (from, to), "delete" (back to None).

    A cas that found another value than `from` has the result False.
    """

    name = "register"
    looks = frozenset({"read"})
    resets = frozenset({"write", "delete"})

    def step(self, state, operation):
        known = operation.ending is Ending.OK
        if operation.kind == "read":
            return state if not known or canonical(operation.result) == state else IMPOSSIBLE
        if operation.kind == "cas":
            expected, new = map(canonical, operation.value)
            matches = expected == state
            if known and operation.result is not None and bool(operation.result) is not matches:
                return IMPOSSIBLE
            return new if matches else state
        return canonical(operation.value)


class AppendStore(Model):
    """One text for each key: "get", "put" and "append" of strings, the key-value store of MIT's 6.5840.

    Args:
        initial: what a get of a key returns that nobody has put.
    """

    name = "key-value store"
    looks = frozenset({"get"})
    resets = frozenset({"put"})

    def __init__(self, initial: str = "") -> None:
        super().__init__(initial)

    def leads_to(self, state, look):
        return look.result.startswith(state)

    def step(self, state, operation):
        if operation.kind == "get":
            return state if operation.ending is not Ending.OK or operation.result == state else IMPOSSIBLE
        return operation.value if operation.kind == "put" else state + operation.value


class Queue(Model):
    """First in, first out: "enqueue" of a value; "dequeue", whose result is the value, or None if there was none."""

    name = "queue"

    def __init__(self) -> None:
        super().__init__(())

    def step(self, state, operation):
        if operation.kind == "enqueue":
            return (*state, canonical(operation.value))
        head = state[0] if state else EMPTY
        if operation.ending is Ending.OK and canonical(operation.result) != head:
            return IMPOSSIBLE
        return state[1:]


class Set(Model):
    """A set: "add" and "remove" of a value; "contains" of a value; "read", whose result is the list of all values."""

    name = "set"
    looks = frozenset({"contains", "read"})

    def __init__(self) -> None:
        super().__init__(frozenset())

    def step(self, state, operation):
        value = canonical(operation.value)
        known = operation.ending is Ending.OK
        if operation.kind == "add":
            return state | {value}
        if operation.kind == "remove":
            return state - {value}
        if operation.kind == "contains":
            return state if not known or operation.result is (value in state) else IMPOSSIBLE
        return state if not known or frozenset(map(canonical, operation.result)) == state else IMPOSSIBLE


class Log(Model):
    """An append-only log: "append" of a value, whose result is its offset; "read" with an offset as value, whose result
    is the value there, or None at the log's end.
    """

    name = "log"
    looks = frozenset({"read"})

    def __init__(self) -> None:
        super().__init__(())

    def step(self, state, operation):
        known = operation.ending is Ending.OK
        if operation.kind == "append":
            if known and operation.result not in (None, len(state)):
                return IMPOSSIBLE
            return (*state, canonical(operation.value))
        there = state[operation.value] if operation.value < len(state) else None
        return state if not known or canonical(operation.result) == there else IMPOSSIBLE


class Counter(Model):
    """A number: "add" of a value (1 if None), whose result is the new number or None if it is not told; "read"."""

    name = "counter"
    looks = frozenset({"read"})

    def __init__(self, initial: int = 0) -> None:
        super().__init__(initial)

    def step(self, state, operation):
        known = operation.ending is Ending.OK
        if operation.kind == "add":
            state += 1 if operation.value is None else operation.value
            return IMPOSSIBLE if known and operation.result not in (None, state) else state
        return state if not known or operation.result == state else IMPOSSIBLE
