"""Takes only the very next number for a new deposit."""

import threading

import greeter_pb2
import greeter_pb2_grpc
import grpc

StatusCode = grpc.StatusCode


class Bank(greeter_pb2_grpc.BankServicer):
    def __init__(self, ledger):
        self.ledger = ledger
        self.last = {}
        self.lock = threading.Lock()

    def Deposit(self, request, context):
        if request.amount <= 0:
            context.abort(StatusCode.INVALID_ARGUMENT, "the amount must be positive")
        with self.lock:
            number, reply = self.last.get(request.client, (0, None))
            if request.number not in (number, number + 1):
                context.abort(StatusCode.FAILED_PRECONDITION, "not the next number")
            if request.number > number:
                reply = greeter_pb2.DepositReply(balance=self.ledger.add(request.account, request.amount))
                self.last[request.client] = (request.number, reply)
            return reply


class Teller:
    def __init__(self, stub, client):
        self.stub, self.client, self.number = stub, client, 0

    def deposit(self, account, amount, attempts=5, timeout_s=0.5):
        self.number += 1
        request = greeter_pb2.DepositRequest(client=self.client, number=self.number, account=account, amount=amount)
        for _ in range(attempts):
            try:
                return "done", self.stub.Deposit(request, timeout=timeout_s).balance
            except grpc.RpcError as error:
                if error.code() not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
                    return "refused", None
        return "unknown", None
