"""The client's half of the check of 02.3: a bank of ours that loses replies, is silent, or down."""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc
from grpc import StatusCode

from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import Run
from labsupport.exercises.rpc.calls import ENDLESS_S, channel_to, serving, shortened
from labsupport.exercises.rpc.idl import idl


def use_teller(given: Any, tell: Any, port: int, client: str, deposits: list[dict[str, Any]]) -> None:
    """In the child: one learner's Teller makes these deposits, one after the other."""
    import greeter_pb2_grpc

    with channel_to(port) as channel:
        teller = given.Teller(greeter_pb2_grpc.BankStub(channel), client)
        for deposit in deposits:
            tell("outcome", outcome=teller.deposit(**deposit))


class Accounts:
    """Names drawn for one run: accounts and clients."""

    def __init__(self, run: Run) -> None:
        self.random = run.random
        self.slow, *self.names = run.random.sample([f"acc-{number}" for number in range(100, 200)], 40)
        self.clients = run.random.sample([f"till-{number}" for number in range(10, 99)], 20)

    def account(self) -> str:
        return self.names.pop()

    def client(self) -> str:
        return self.clients.pop()

    def amount(self) -> int:
        return self.random.randrange(10, 90)


class TellerCase:
    """A bank of ours that is out of order, for the client's half; it recognises copies, as a bank should.

    The fates of a deposit's attempts, by account: *lost*, carried out, and the reply is lost with the connection;
    *silence*, carried out, and no reply comes; *down*, not carried out. The attempt after the last fate is answered.
    """

    def __init__(self, run: Run, answer: Answer, accounts: Accounts) -> None:
        self.run, self.answer, self.accounts = run, answer, accounts
        self.client = accounts.client()
        self.fates: dict[str, list[str]] = {}
        self.attempts: dict[str, list[tuple[str, int]]] = {}
        self.replies: dict[tuple[str, int], int] = {}
        self.balances: dict[str, int] = {}
        self.history: dict[str, list[str]] = {}
        self.endless = False
        self.lock = threading.Lock()

    def serve(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Our bank's Deposit."""
        number = (request.client, request.number)
        with self.lock:
            attempts = self.attempts.setdefault(request.account, [])
            history = self.history.setdefault(request.account, [])
            fates = self.fates.get(request.account, [])
            fate = fates[len(attempts)] if len(attempts) < len(fates) else "answer"
            attempts.append(number)
            self.endless = self.endless or context.time_remaining() > ENDLESS_S
            what = f"number {request.number} of {request.client!r}, {request.amount} to {request.account}"
            said = f"attempt {len(attempts)}: {what}"
            if request.amount <= 0:
                history.append(f"{said}: refused, INVALID_ARGUMENT")
                context.abort(StatusCode.INVALID_ARGUMENT, "the amount must be positive")
            if fate != "down" and number not in self.replies:
                self.balances[request.account] = self.balances.get(request.account, 0) + request.amount
                self.replies[number] = self.balances[request.account]
                said += ": done"
            history.append(f"{said}, {FATES[fate]}")
        if fate in ("lost", "down"):
            context.abort(StatusCode.UNAVAILABLE, "the connection broke")
        while fate == "silence" and context.is_active() and not self.endless:
            time.sleep(0.02)
        return idl().DepositReply(balance=self.replies[number])

    def tries_until_it_knows(self) -> None:
        plans = (
            ("plain", [], 1, {"attempts": 8, "timeout_s": 3.0}),
            ("lost", ["lost"], 1, {"attempts": 8, "timeout_s": 3.0}),
            ("down", ["down", "lost"], 1, {"attempts": 8, "timeout_s": 3.0}),
            ("refused", [], -1, {"attempts": 8, "timeout_s": 3.0}),
            ("silence", ["silence"], 1, {"attempts": 12, "timeout_s": 0.6}),
            ("dark", ["silence"] * 99, 1, {"attempts": 2, "timeout_s": 0.4}),
            ("after", [], 1, {"attempts": 8, "timeout_s": 3.0}),
        )
        deposits = []
        for _, fates, sign, patience in plans:
            deposits.append({"account": self.accounts.account(), "amount": sign * self.accounts.amount(), **patience})
            self.fates[deposits[-1]["account"]] = fates
        with serving(idl().handlers("Bank", {"Deposit": self.serve})) as port:
            settings = {"port": port, "client": self.client, "deposits": deposits}
            with self.answer.start(use_teller, path=[idl().directory], **settings) as child:
                earlier: dict[int, str] = {}  # the numbers of the deposits before, and their accounts
                for (name, *_), deposit in zip(plans, deposits, strict=True):
                    outcome = child.expect("outcome", what="Teller.deposit to return")["outcome"]
                    self.judge(name, deposit, outcome, earlier)
                    earlier |= {number: deposit["account"] for _, number in self.attempts.get(deposit["account"], [])}

    def judge(self, name: str, deposit: dict[str, Any], outcome: Any, earlier: dict[int, str]) -> None:
        attempts = self.attempts.get(deposit["account"], [])
        history = self.history.get(deposit["account"], [])
        self.story = [
            f"deposit{pair([deposit['account'], deposit['amount']])}",
            *history,
            f"it returned {pair(outcome)}",
        ]
        if self.endless:
            self.reject("waits_for_ever", "a call was made without a deadline", "a timeout for each attempt", "none")
        if len(set(attempts)) > 1:
            slug = "new_request_id_per_retry"
            said = "the second attempt had another request number than the first, so the bank did it twice"
            if name in ("silence", "dark"):
                slug = "timeout_taken_as_did_not_happen"
                said = "no reply came in time, and you made a new deposit of it: the bank had done the first one"
            self.reject(slug, said, "the same number in each attempt", ", ".join(str(n) for _, n in attempts))
        if attempts and attempts[0][1] in earlier:
            said = "two deposits had the same request number: the bank takes the second for a copy"
            self.story.insert(0, f"number {attempts[0][1]} was a deposit to {earlier[attempts[0][1]]}")
            self.reject("one_number_for_all_deposits", said, "a new number for a new deposit", attempts[0][1])
        if attempts and (attempts[0][0] != self.client or attempts[0][1] < max(earlier, default=0)):
            wanted = f"client {self.client!r}, numbers 1, 2, 3, …"
            self.reject("", "the request's client and number are not as agreed", wanted, attempts[0])
        self.judge_outcome(name, deposit, len(attempts), outcome)

    def judge_outcome(self, name: str, deposit: dict[str, Any], attempts: int, outcome: Any) -> None:
        wanted = ["done", self.balances.get(deposit["account"])]
        wanted = {"refused": ["refused", None], "dark": ["unknown", None]}.get(name, wanted)
        if name == "refused" and attempts > 1:
            said = "a deposit that the bank had refused was tried again"
            self.reject("retries_a_refusal", said, "1 attempt", f"{attempts} attempts")
        if outcome == wanted:
            return
        silent = name in ("silence", "dark")
        if silent and isinstance(outcome, list) and outcome[:1] == ["refused"]:
            slug, said = "timeout_taken_as_did_not_happen", "no reply came in time, and you said that it was not done"
        elif attempts == 1 and name in ("lost", "down", "silence"):
            slug, said = "gives_up_at_once", "the first attempt got no reply, and there was no second"
        else:
            slug, said = "", "the outcome is not what the bank knows"
        self.reject(slug, said, pair(wanted), pair(outcome))

    def reject(self, slug: str, said: str, expected: object, got: object) -> None:
        self.run.reject(slug, said, expected=expected, got=got, evidence=shortened(self.story))


FATES = {
    "answer": "the reply is sent",
    "lost": "but the reply is lost: UNAVAILABLE",
    "silence": "but no reply comes",
    "down": "not done: UNAVAILABLE",
}


def pair(outcome: Any) -> str:
    """What a deposit returned, as Python writes it."""
    return f"({', '.join(map(repr, outcome))})" if isinstance(outcome, list) else repr(outcome)
