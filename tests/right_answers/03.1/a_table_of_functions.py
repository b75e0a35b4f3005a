"""Looks the operation up, and lets Python find the division by zero."""

import operator

FUNCTIONS = {"ADD": operator.add, "SUBTRACT": operator.sub, "MULTIPLY": operator.mul, "DIVIDE": operator.truediv}


class Calculator:
    def __init__(self, api):
        self.refusal = api.CannotCalculate
        self.functions = {getattr(api.Operation, name): function for name, function in FUNCTIONS.items()}

    def calculate(self, operation, left, right):
        try:
            return self.functions[operation](left, right)
        except KeyError:
            raise self.refusal(operation=operation, reason="unknown operation") from None
        except ZeroDivisionError as error:
            raise self.refusal(operation=operation, reason=str(error)) from None
