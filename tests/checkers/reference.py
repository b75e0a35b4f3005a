"""The reference that every checker is compared with: it tries all orders. And random histories to compare them on.

A generator of histories runs an imaginary system that is mostly right; then results are spoilt at random.
"""

from __future__ import annotations

import functools
import math
import random

from labsupport.checkers import models
from labsupport.history import Ending, History, Operation


def brute_force(history: History, initial, apply) -> bool:
    """Whether some order explains the history.

    Args:
        history: few operations.
        initial: the first state, hashable.
        apply: `apply(state, operation)` gives the states that may follow; of an operation without an answer too.
    """
    operations = [op for op in history if op.ending is not Ending.FAILED]
    everything = frozenset(range(len(operations)))
    returns = [math.inf if op.returned is None else op.returned for op in operations]

    @functools.cache
    def search(undone: frozenset, state) -> bool:
        if all(returns[place] == math.inf for place in undone):
            return True
        deadline = min(returns[place] for place in undone)
        return any(
            search(undone - {place}, following)
            for place in undone
            if operations[place].called <= deadline
            for following in apply(state, operations[place])
        )

    return search(everything, initial)


def register(state, op: Operation):
    """A register's next states."""
    known = op.ending is Ending.OK
    if op.kind == "read":
        return [state] if not known or op.result == state else []
    if op.kind == "write":
        return [op.value]
    expected, new = op.value
    if not known or op.result is None:
        return [new] if state == expected else [state]
    if op.result:
        return [new] if state == expected else []
    return [state] if state != expected else []


def random_register(draw: random.Random, *, size: int, unique: bool, cas: float, crashed: float, clients=4) -> History:
    """A history of a register: simulated with overlapping operations, then perhaps spoilt."""
    clock, state, fresh = 0, None, iter(range(1, 10**6))
    pending: dict[int, list] = {}
    operations, started, made = [], 0, [None]
    names = iter(range(10**6))
    active = [next(names) for _ in range(clients)]
    while started < size or pending:
        clock += draw.choice((0, 1, 1))
        place = draw.randrange(clients)
        client = active[place]
        if client not in pending:
            if started == size:
                continue
            started += 1
            roll = draw.random()
            value = next(fresh) if unique else draw.randrange(3)
            if roll < cas:
                kind, value = "cas", (state if draw.random() < 0.6 else draw.choice(made), value)
            elif roll < cas + (1 - cas) / 2:
                kind, value = "write", value
            else:
                kind, value = "read", None
            if kind != "read":
                made.append(value if kind == "write" else value[1])
            pending[client] = [kind, value, clock, False, None]
            continue
        kind, value, called, done, result = pending[client]
        if not done:
            if kind == "read":
                result = state
            elif kind == "write":
                state = value
            else:
                result = state == value[0]
                state = value[1] if result else state
            pending[client][3:] = [True, result]
            if draw.random() < 0.5:
                continue
        if draw.random() < crashed:
            operations.append(Operation(client, kind, None, value, None, called, None, Ending.UNKNOWN))
            active[place] = next(names)
        else:
            operations.append(Operation(client, kind, None, value, result, called, clock))
        del pending[client]
    return History(spoil(draw, operations, made))


def spoil(draw: random.Random, operations: list[Operation], made: list) -> list[Operation]:
    """In two of three histories a result or two are replaced, in some to what was never written."""
    for _ in range(draw.choice((0, 1, 1, 2))):
        candidates = [n for n, op in enumerate(operations) if op.ending is Ending.OK and op.kind in ("read", "cas")]
        if not candidates:
            break
        place = draw.choice(candidates)
        op = operations[place]
        seen = draw.choice(made) if draw.random() < 0.95 else -1
        result = seen if op.kind == "read" else not op.result
        operations[place] = Operation(op.client, op.kind, op.key, op.value, result, op.called, op.returned)
    return operations


# For each object: its model, and what clients may ask; `made` is a fresh number.
OBJECTS = {
    "queue": (models.Queue, lambda draw, made: draw.choice((("enqueue", made), ("dequeue", None)))),
    "set": (models.Set, lambda draw, made: (draw.choice(("add", "remove", "contains")), draw.randrange(2))),
    "grow-only set": (models.Set, lambda draw, made: draw.choice((("add", made), ("read", None)))),
    "counter": (models.Counter, lambda draw, made: draw.choice((("add", None), ("read", None)))),
    "log": (models.Log, lambda draw, made: draw.choice((("append", made), ("read", draw.randrange(4))))),
}


def steps_of(model: models.Model):
    """A model in the form that `brute_force` takes."""

    def apply(state, operation):
        after = model.step(state, operation)
        return [] if after is models.IMPOSSIBLE else [after]

    return apply


def random_object(draw: random.Random, name: str, *, size: int, crashed: float) -> tuple[History, models.Model]:
    """A history of one of `OBJECTS`, simulated and then perhaps spoilt; dequeues are always answered."""
    make, ask = OBJECTS[name]
    model = make()
    clock, state, operations, made = 0, model.initial, [], 0
    pending: dict[int, list] = {}
    names = iter(range(10**6))
    active = [next(names) for _ in range(4)]
    while made < size or pending:
        clock += draw.choice((0, 1, 1))
        place = draw.randrange(4)
        client = active[place]
        if client not in pending:
            if made < size:
                made += 1
                pending[client] = [*ask(draw, made), clock, False, None]
            continue
        kind, value, called, done, result = pending[client]
        if not done:
            result = _answer(kind, value, state, name)
            state = model.step(state, Operation(0, kind, value=value, ending=Ending.UNKNOWN))
            pending[client][3:] = [True, result]
            if draw.random() < 0.5:
                continue
        if kind != "dequeue" and draw.random() < crashed:
            operations.append(Operation(client, kind, None, value, None, called, None, Ending.UNKNOWN))
            active[place] = next(names)
        else:
            operations.append(Operation(client, kind, None, value, result, called, clock))
        del pending[client]
    for _ in range(draw.choice((0, 1, 1, 2))):
        answers = [n for n, op in enumerate(operations) if op.ending is Ending.OK and op.result is not None]
        if answers:
            place = draw.choice(answers)
            op = operations[place]
            result = _spoilt(draw, op, made)
            operations[place] = Operation(op.client, op.kind, op.key, op.value, result, op.called, op.returned)
    return History(operations), model


def _answer(kind: str, value, state, name: str):
    if kind == "dequeue":
        return state[0] if state else None
    if kind == "contains":
        return value in state
    if kind == "append":
        return len(state)
    if kind == "read" and name == "log":
        return state[value] if value < len(state) else None
    if kind == "read":
        return state if name == "counter" else sorted(state)
    return None


def _spoilt(draw: random.Random, op: Operation, made: int):
    if isinstance(op.result, bool):
        return not op.result
    if isinstance(op.result, list):
        other = draw.randrange(1, made + 1)
        return [value for value in op.result if value != other] + [other] * (other not in op.result)
    if op.kind == "append":
        return draw.randrange(4)
    if op.kind == "read" and op.value is None:
        return op.result + draw.choice((-1, 1, 2))
    return draw.choice([None, *range(1, made + 1)])
