"""Takes what is left for a division."""


class Calculator:
    def __init__(self, api):
        self.api = api

    def calculate(self, operation, left, right):
        if operation == 1:
            return left + right
        if operation == 2:
            return left - right
        if operation == 3:
            return left * right
        if right == 0:
            raise self.api.CannotCalculate(operation, "division by zero")
        return left / right
