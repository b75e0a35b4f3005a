"""A budget object that makes the calls, and waits drawn from the wait before (decorrelated jitter)."""

import time

import greeter_pb2
import greeter_pb2_grpc
import grpc


class Spent(Exception):
    pass


class Budget:
    def __init__(self, seconds):
        self.ends = time.monotonic() + seconds

    @property
    def left(self):
        return self.ends - time.monotonic()

    def call(self, method, request):
        if self.left <= 0:
            raise Spent
        return method(request, timeout=self.left)


class Shop(greeter_pb2_grpc.ShopServicer):
    def __init__(self, depot, sleep, random):
        self.depot, self.sleep, self.random = depot, sleep, random

    def Buy(self, order, context):
        left = context.time_remaining()
        budget = Budget(10.0 if left is None or left > 10 else left)
        wait = 0.05
        try:
            while True:
                try:
                    price = budget.call(self.depot.Price, order).price
                    break
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                wait = 0.05 + self.random() * (3 * wait - 0.05)
                if wait >= budget.left:
                    raise Spent
                self.sleep(wait)
            budget.call(self.depot.Take, order)
        except Spent:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the customer's time is over")
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "the depot failed")
        return greeter_pb2.Receipt(price=price)
