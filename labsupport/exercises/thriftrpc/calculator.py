"""Check of 03.1: a client calls the learner's Calculator, with what can be calculated and what cannot."""

from __future__ import annotations

import math
from typing import Any

from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import Run
from labsupport.exercises.thriftrpc.calls import client_of, definition, host

NAMES = {1: "ADD", 2: "SUBTRACT", 3: "MULTIPLY", 4: "DIVIDE"}


def serve_calculator(given: Any, tell: Any) -> None:
    """In the child: the learner's Calculator; of each call the kind of thing that it returns is told."""
    api = definition("calculator")

    class Watched(given.Calculator):
        def calculate(self, operation: int, left: int, right: int) -> Any:
            try:
                value = super().calculate(operation, left, right)
            except BaseException as error:
                if isinstance(error, NotImplementedError):
                    tell.failed(error)  # a server would only log it
                tell("left", how=f"raises {type(error).__name__}")
                raise
            tell("left", how=f"returns {value!r:.60}", exception=isinstance(value, Exception))
            return value

    host(tell, api.Calculator.Processor(Watched(api)))


def check_calculator(answer: Answer, run: Run) -> str:
    """Sums first, then what cannot be calculated, then sums again on the same connection."""
    api = definition("calculator")  # before any child: a library that cannot be brought is not the answer's fault
    with answer.start(serve_calculator) as child:
        port = child.expect("ready", what="your Calculator to be served")["port"]
        with client_of(api.Calculator, port) as client:
            case = CalculatorCase(run, child, client)
            for _ in range(3):
                case.calculates()
            case.refuses(4, run.random.randrange(1, 99), 0, "a division by zero")
            case.refuses(run.random.randrange(5, 99), 6, 3, "an operation that the definition does not have")
            case.refuses(0, 6, 3, "the operation 0, which the definition does not have")
            case.calculates()
    return "all operations, division by zero, unknown operations, one connection"


class CalculatorCase:
    """The experiments of 03.1."""

    def __init__(self, run: Run, child: Child, client: Any) -> None:
        self.run, self.child, self.client = run, child, client
        self.history: list[str] = []

    def call(self, operation: int, left: int, right: int) -> tuple[Any, dict[str, Any]]:
        """What the client gets, a value or the exception that it meets; and what the method did."""
        self.history.append(f"-> calculate({NAMES.get(operation, operation)}, {left}, {right})")
        try:
            got = self.client.calculate(operation, left, right)
        except Exception as error:
            got = error
        did = self.child.expect("left", what="your calculate to return or raise")
        self.history += [f"   your method {did['how']}", f"<- {_shown(got)}"]
        return got, did

    def reject(self, slug: str, said: str, expected: object, got: object) -> None:
        self.run.reject(slug, said, expected=expected, got=_shown(got), evidence=self.history[-9:])

    def calculates(self) -> None:
        right = self.run.random.choice([2, 4, 5, 8])
        left = right * self.run.random.randrange(3, 60) + 1  # so that the division leaves a remainder
        sign = self.run.random.choice([1, -1])
        for operation, wanted in enumerate((left + sign * right, left - sign * right, left * right * sign), 1):
            got, did = self.call(operation, left, sign * right)
            if got != wanted:
                self.wrong_value(got, did, wanted)
        quotient = left / (sign * right)
        got, did = self.call(4, left, sign * right)
        if got in (math.floor(quotient), math.ceil(quotient)):
            said = f"{left} divided by {sign * right} came out as a whole number"
            self.reject("integer_division", said, quotient, got)
        if not isinstance(got, float) or not math.isclose(got, quotient):
            self.wrong_value(got, did, quotient)

    def wrong_value(self, got: Any, did: dict[str, Any], wanted: float) -> None:
        api = definition("calculator")
        if isinstance(got, api.CannotCalculate):
            self.reject("", "your Calculator refused what can be calculated", wanted, got)
        self.reject("", f"the result is wrong; your method {did['how']}", wanted, got)

    def refuses(self, operation: int, left: int, right: int, what: str) -> None:
        from thrift.Thrift import TApplicationException

        got, did = self.call(operation, left, right)
        wanted = f"CannotCalculate(operation={operation}, reason='…')"
        if did.get("exception"):
            said = f"your method returned an exception for {what}; the server cannot send it as a number"
            self.reject("returns_the_exception", said, wanted, got)
        if isinstance(got, TApplicationException) and got.type == TApplicationException.MISSING_RESULT:
            self.reject("returns_null_for_errors", f"there was no result for {what}, and no reason", wanted, got)
        if isinstance(got, TApplicationException):
            self.reject("undeclared_exception", f"your method raised what is not declared for {what}", wanted, got)
        if isinstance(got, (int, float)):
            slug = "returns_a_number_for_errors"
            if operation != 4 and got in (left + right, left - right, left * right, left / right):
                slug = "unknown_operation_calculated"
            self.reject(slug, f"{what} gave a number, which no caller can tell from a result", wanted, got)
        if not isinstance(got, definition("calculator").CannotCalculate):
            self.reject("", f"the call broke for {what}", wanted, got)
        if got.operation != operation or not got.reason:
            self.reject("exception_without_its_fields", "your exception came without what it is to say", wanted, got)


def _shown(got: Any) -> str:
    if isinstance(got, Exception):
        return f"{type(got).__name__}: {got}" if not hasattr(got, "reason") else repr(got)
    return repr(got)
