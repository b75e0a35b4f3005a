"""Linearizability: does an order of the operations, each between its call and its return, explain all results?

Source: M. Herlihy and J. Wing, *Linearizability: A Correctness Condition for Concurrent Objects*, ACM TOPLAS 12, 1990.
The parts of an object (keys) are checked one by one, which that paper proves to be enough, each with the first of these
that applies: `zones`, `chains` (unique values, no search), `configurations` (any register), the algorithms of other
objects (`queues`, `sets`, `counters`, `logs`), `depth_first` (any model).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Sequence

from labsupport.checkers import chains, configurations, counters, depth_first, logs, queues, sets, zones
from labsupport.checkers.finding import Anomaly, Finding, conclude
from labsupport.checkers.minimal import shrink, until
from labsupport.checkers.models import Counter, Log, Model, Queue, Register, Set
from labsupport.checkers.register import NEVER, Decision, Entry, entries
from labsupport.checkers.values import canonical
from labsupport.history import History, Operation

BUDGET = 8_000_000  # steps of search, about ten seconds; counted in steps, so that no verdict depends on the machine
STATE = 8  # steps that a remembered state of the depth-first search counts as: it costs memory too
# With so many unanswered changes the search over configurations can become slow, while depth first is often lucky with
# a good history (it rarely exhausts a bad one). So the latter is tried after so many steps, for so many states.
MANY_CRASHED, PATIENCE, LUCKY = 8, 400_000, 150_000
FIRST_ROUND, ROUND_GROWTH = 20_000, 8  # every part gets a little before any part gets much
SHOWN = 5  # parts whose violation is explained; the others are counted
EXPLAINING = 1_000_000  # steps, in all, to make certificates smaller


@dataclasses.dataclass
class _Part:
    """One independent part of the object, and what is known of it so far."""

    key: Hashable
    operations: list[Operation]
    decision: Decision | None = None
    algorithm: str = ""


def linearizable(
    history: History, model: Model | None = None, *, budget: int = BUDGET, witness: bool = False
) -> Finding:
    """Whether the history is linearizable.

    Args:
        history: what clients asked and were told; FAILED operations are taken to have had no effect, UNKNOWN ones may
            have theirs at any time after their call, or never.
        model: the object; a `Register` for each key if none is given.
        budget: steps of search at most. Unique values need none.
        witness: also give, where an algorithm has it at hand, a legal order for each part, one part after the other.

    >>> finding = linearizable(History([
    ...     Operation("a", "write", value=1, called=0, returned=1),
    ...     Operation("a", "write", value=2, called=2, returned=4),
    ...     Operation("b", "read", result=2, called=3, returned=5),
    ...     Operation("b", "read", result=1, called=6, returned=7),
    ... ]))
    >>> print(finding.anomalies[0])
    stale read: read() -> 1 saw an old value: write(2) had begun and finished in between.
    a  |write(1)|
    a              |write(2)|
    b                          |read() -> 1|
    - write(1) returned (1) before write(2) was called (2): all about write(1) comes before all about write(2).
    - But write(2) returned (4) before read() -> 1 was called (6): all about write(2) comes before all about write(1).
    """
    model = Register() if model is None else model
    parts = _split(history, model)
    decide = _decider(model)
    open_parts, spent, limit = parts, 0, FIRST_ROUND if len(parts) > 1 else budget
    while open_parts and spent < budget and not any(part.decision and part.decision.ok is False for part in parts):
        for part in open_parts:
            part.decision, part.algorithm = decide(part.operations, max(1, min(limit, budget - spent)), witness)
            spent += part.decision.steps
        open_parts = [part for part in open_parts if part.decision.ok is None]
        limit *= ROUND_GROWTH
    wrong = [part for part in parts if part.decision is not None and part.decision.ok is False]
    wrong.sort(key=lambda part: len(part.decision.certificate) or len(part.operations))
    anomalies = [_explain(part, model, decide, EXPLAINING // SHOWN) for part in wrong[:SHOWN]]
    details = {
        "algorithms": sorted({part.algorithm for part in parts}),
        "steps": spent,
        "parts": len(parts),
        "wrong parts": len(wrong),
        "operations": len(history),
    }
    order = tuple(_operation(entry) for part in parts for entry in part.decision.witness) if witness else ()
    unknown = ""
    if open_parts:
        unknown = f"The search stopped after {spent:,} steps with {len(open_parts)} of {len(parts)} parts undecided."
    good = f"{len(history):,} operations have an order that explains every result."
    return conclude("linearizable", anomalies, good=good, unknown=unknown, details=details, witness=order)


def _split(history: Iterable[Operation], model: Model) -> list[_Part]:
    parts: dict[Hashable, list[Operation]] = {}
    keys: dict[Hashable, Hashable] = {}
    ordinary = type(model).part is Model.part
    for operation in history:
        key = operation.key if ordinary and type(operation.key) in (int, str) else model.part(operation)
        if key not in parts:
            parts[key], keys[key] = [], operation.key
        parts[key].append(operation)
    return [_Part(keys[key], operations) for key, operations in parts.items()]


def _decider(model: Model) -> Callable[[Sequence[Operation], int, bool], tuple[Decision, str]]:
    """The function that decides one part: from its operations and a budget to a decision and an algorithm's name."""
    if type(model) is Register:
        initial = canonical(model.initial)

        def of_register(operations, budget, witness):
            made = entries(operations)
            for name, decide in (("zones", zones.decide), ("chains", chains.decide)):
                decision = decide(made, initial, witness=witness)
                if decision.ok is not None:
                    return decision, name
            spent = 0
            if sum(entry.ret == NEVER for entry in made) >= MANY_CRASHED:
                decision = configurations.decide(made, initial, budget=min(budget, PATIENCE))
                spent = decision.steps
                if decision.ok is None and spent < budget:
                    found = depth_first.search(operations, model, budget=min(LUCKY, (budget - spent) // STATE))
                    spent += found.steps * STATE
                    if found.ok:
                        decision = Decision(True, witness=found.order)
                if decision.ok is not None or spent >= budget:
                    decision.steps = spent
                    return decision, "configurations"
            decision = configurations.decide(made, initial, budget=budget - spent)
            decision.steps += spent
            return decision, "configurations"

        return of_register

    own = {
        Queue: lambda operations, budget: queues.decide(operations),
        Set: lambda operations, budget: sets.decide(operations, budget),
        Counter: lambda operations, budget: counters.decide(operations, model.initial),
        Log: lambda operations, budget: logs.decide(operations),
    }.get(type(model))

    def of_model(operations, budget, witness):
        decision = own(operations, budget) if own is not None else Decision(None)
        if decision.ok is not None:
            return decision, model.name
        return _by_search(operations, model, budget)

    return of_model


def _by_search(operations: Sequence[Operation], model: Model, budget: int) -> tuple[Decision, str]:
    found = depth_first.search(operations, model, budget=max(1, budget // STATE))
    steps = found.steps * STATE
    if found.ok is not False:
        return Decision(found.ok, witness=found.order if found.ok else (), steps=steps), "depth first"
    blamed = found.blamed
    reason = "The longest order that works: " + (", ".join(op.text for op in found.order[-6:]) or "none") + "."
    decision = Decision(
        False,
        "no order",
        f"no order of the operations lets {blamed.text} return at {blamed.returned}.",
        (reason,),
        tuple(until(operations, blamed.returned, lambda op: op.kind in model.looks)),
        steps=steps,
    )
    return decision, "depth first"


def _explain(part: _Part, model: Model, decide, budget: int) -> Anomaly:
    """The violation of one part with the smallest certificate that we can find within the budget."""
    left = budget

    def looks(operation: Operation) -> bool:
        return operation.kind in model.looks or (operation.kind == "cas" and operation.result is False)

    def violates(operations: Sequence[Operation]) -> bool:
        nonlocal left
        found = decide(operations, max(left, 1), False)[0]
        left -= found.steps
        return found.ok is False

    decision = part.decision
    certificate = tuple(_operation(entry) for entry in decision.certificate)
    if decision.name == "no order" or type(model) is Register:
        smaller = shrink(certificate, violates, looks, model.resets)
        again = decide(smaller, budget, False)[0]
        if again.ok is False and (again.name == decision.name or decision.name == "no order"):
            if decision.name != again.name:
                again.reasons += decision.reasons  # what would have been possible
            decision, certificate = again, smaller
    return Anomaly(decision.name, decision.summary, decision.reasons, certificate, part.key)


def _operation(entry: Entry | Operation) -> Operation:
    return entry.operation if isinstance(entry, Entry) else entry
