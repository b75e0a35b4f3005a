"""Treats both calls to the depot alike."""

import time

import greeter_pb2_grpc
import grpc


class Shop(greeter_pb2_grpc.ShopServicer):
    def __init__(self, depot, sleep, random):
        self.depot, self.sleep, self.random = depot, sleep, random

    def Buy(self, order, context):
        ends = time.monotonic() + min(context.time_remaining(), 10)
        try:
            receipt = self.patiently(self.depot.Price, order, ends)
            self.patiently(self.depot.Take, order, ends)
            return receipt
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    def patiently(self, call, order, ends):
        longest = 0.05
        while True:
            try:
                return call(order, timeout=ends - time.monotonic())
            except grpc.RpcError as error:
                wait = self.random() * longest
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() + wait >= ends:
                    raise
            self.sleep(wait)
            longest *= 2
