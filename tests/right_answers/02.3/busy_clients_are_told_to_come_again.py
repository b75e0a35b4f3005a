"""A lock for each client, which a copy does not wait for; the client backs off, by recursion."""

import collections
import threading
import time

import greeter_pb2
import greeter_pb2_grpc
import grpc


class Session:
    def __init__(self):
        self.busy = threading.Lock()
        self.number = 0
        self.balance = 0


class Bank(greeter_pb2_grpc.BankServicer):
    def __init__(self, ledger):
        self.ledger = ledger
        self.sessions = collections.defaultdict(Session)
        self.guard = threading.Lock()

    def Deposit(self, request, context):
        if request.amount < 1:
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            return greeter_pb2.DepositReply()
        with self.guard:
            session = self.sessions[request.client]
        if not session.busy.acquire(blocking=False):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the same deposit is being made")
        try:
            if request.number == session.number + 1 or request.number > session.number:
                session.balance = self.ledger.add(request.account, request.amount)
                session.number = request.number
            elif request.number < session.number:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, "this was long ago")
            return greeter_pb2.DepositReply(balance=session.balance)
        finally:
            session.busy.release()


class Teller:
    def __init__(self, stub, client):
        self.stub, self.client = stub, client
        self.made = 0

    def deposit(self, account, amount, attempts=5, timeout_s=0.5):
        self.made += 1
        fields = {"client": self.client, "number": self.made, "account": account, "amount": amount}
        return self.attempt(greeter_pb2.DepositRequest(**fields), attempts, timeout_s, 0.02)

    def attempt(self, request, attempts, timeout_s, wait_s):
        if attempts == 0:
            return ("unknown", None)
        call = self.stub.Deposit.future(request, timeout=timeout_s)
        code = call.code()
        if code == grpc.StatusCode.OK:
            return ("done", call.result().balance)
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return ("refused", None)
        time.sleep(wait_s)
        return self.attempt(request, attempts - 1, timeout_s, min(1.0, 2 * wait_s))
