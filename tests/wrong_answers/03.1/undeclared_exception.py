"""Lets an exception of Python out."""


class Calculator:
    def __init__(self, api):
        self.api = api

    def calculate(self, operation, left, right):
        if operation not in (1, 2, 3, 4):
            raise ValueError("no such operation")
        if operation == 4 and right == 0:
            raise ZeroDivisionError("division by zero")
        return {1: left + right, 2: left - right, 3: left * right}.get(operation) if operation < 4 else left / right
