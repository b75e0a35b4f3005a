"""Check of 02.3: copies of deposits, lost replies and silence, for the learner's server, client, and both together."""

from __future__ import annotations

import gc
import itertools
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from grpc import StatusCode

from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import Run
from labsupport.exercises.rpc.calls import (
    ENDLESS_S,
    PATIENCE_S,
    Ended,
    channel_to,
    evidence_of,
    finish,
    host,
    result_of,
    serving,
    shortened,
)
from labsupport.exercises.rpc.idl import idl

BULK = "bulk"  # deposits to accounts of this name come by the thousand, and are not told one by one


class Ledger:
    """In the child: where deposits take effect, one call after the other; every effect is told.

    Args:
        slow: an entry in this account takes until a second copy of its request has come, and a while longer.
    """

    def __init__(self, tell: Any, slow: str) -> None:
        self.tell, self.slow = tell, slow
        self.copies, self.second = 0, threading.Event()
        self.balances: dict[str, int] = {}
        self.lock = threading.Lock()

    def comes(self) -> None:
        """A copy of the slow request has reached the bank's method."""
        with self.lock:
            self.copies += 1
            if self.copies == 2:
                self.second.set()

    def add(self, account: str, amount: int) -> int:
        if account == self.slow:
            self.tell("working")
            self.second.wait(PATIENCE_S)
            time.sleep(0.7)  # the copy has reached the method: time to do what it does with it
        with self.lock:
            self.balances[account] = self.balances.get(account, 0) + amount
            balance = self.balances[account]
        if not account.startswith(BULK):
            self.tell("effect", account=account, amount=amount, balance=balance)
        return balance


def serve_bank(given: Any, tell: Any, slow: str = "", lost: Sequence[int] = ()) -> None:
    """In the child: the learner's Bank; the replies to the `lost` first, second, … calls never leave the server."""
    import greeter_pb2_grpc

    ledger = Ledger(tell, slow)
    calls = iter(range(10**9))

    class Watched(given.Bank):
        def Deposit(self, request: Any, context: Any) -> Any:
            if request.account == slow:
                ledger.comes()
            number = next(calls)
            try:
                reply = super().Deposit(request, context)
            finally:
                if not request.account.startswith(BULK):
                    tell("answered", lost=number in lost)
            if number in lost:
                context.abort(StatusCode.UNAVAILABLE, "the connection broke before the reply was sent")
            return reply

    def remembered(request: bytes, context: Any) -> bytes:
        """Bytes that Python objects made since the first call still hold."""
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        gc.collect()
        return json.dumps(tracemalloc.get_traced_memory()[0]).encode()

    probe = grpc.method_handlers_generic_handler(
        "probe", {"Remembered": grpc.unary_unary_rpc_method_handler(remembered)}
    )

    def add(server: grpc.Server) -> None:
        greeter_pb2_grpc.add_BankServicer_to_server(Watched(ledger), server)
        server.add_generic_rpc_handlers((probe,))

    host(tell, add)


def use_teller(given: Any, tell: Any, port: int, client: str, deposits: list[dict[str, Any]]) -> None:
    """In the child: one learner's Teller makes these deposits, one after the other."""
    import greeter_pb2_grpc

    with channel_to(port) as channel:
        teller = given.Teller(greeter_pb2_grpc.BankStub(channel), client)
        for deposit in deposits:
            tell("outcome", outcome=teller.deposit(**deposit))


def check_exactly_once(answer: Answer, run: Run) -> str:
    """The learner's bank against a client of ours, the learner's client against a bank of ours, then both together."""
    accounts = Accounts(run)
    with answer.start(serve_bank, path=[idl().directory], slow=accounts.slow) as child:
        port = child.expect("ready", what="your Bank to be served")["port"]
        with channel_to(port) as channel:
            bank = BankCase(run, child, channel, accounts)
            bank.does_it_once()
            bank.tells_deposits_apart()
            bank.stands_late_copies()
            bank.refuses()
            bank.stands_copies_side_by_side()
            bank.forgets()
    TellerCase(run, answer, accounts).tries_until_it_knows()
    return both_together(run, answer, accounts)


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


class BankCase:
    """The experiments on the server's half: copies of one request, and requests that only look like copies."""

    def __init__(self, run: Run, child: Child, channel: grpc.Channel, accounts: Accounts) -> None:
        self.run, self.child, self.accounts, self.channel = run, child, accounts, channel
        self.call = idl().stub(channel, "Bank")["Deposit"]
        self.history: list[str] = []
        self.client, self.other = accounts.client(), accounts.client()
        self.account, self.amount = accounts.account(), accounts.amount()

    def deposit(self, client: str, number: int, account: str, amount: int, note: str = "") -> tuple[Ended, int]:
        """Make one call; how it ended, and how many effects it had."""
        self.history.append(f"-> {client} number {number}: {amount} to {account}{note and f'   ({note})'}")
        ended = finish(self.call, self.request(client, number, account, amount))
        effects = self.effects()
        self.history.append(f"<- {_balance(ended)}")
        return ended, effects

    def request(self, client: str, number: int, account: str, amount: int) -> Any:
        return idl().DepositRequest(client=client, number=number, account=account, amount=amount)

    def effects(self) -> int:
        """How many effects there were until the bank's method was left."""
        count = 0
        for event in self.child.events(PATIENCE_S):
            if event["event"] == "answered":
                break
            if event["event"] == "effect":
                count += 1
                self.history.append(f"   effect: {event['amount']} to {event['account']}, balance {event['balance']}")
        return count

    def reject(self, slug: str, said: str, **fields: Any) -> None:
        self.run.reject(slug, said, evidence=[*self.history[-12:], *evidence_of(self.child)], **fields)

    def does_it_once(self) -> None:
        """A deposit, another client's, and a copy of the first, as a client sends it whose reply was lost."""
        first, effects = self.deposit(self.client, 1, self.account, self.amount)
        if effects != 1 or not first.ok or first.replies[0].balance != self.amount:
            self.reject(
                "", "a first deposit went wrong", expected=f"one effect, balance {self.amount}", got=_balance(first)
            )
        more = self.amount + 7
        other, effects = self.deposit(self.other, 1, self.account, more, "another client's first deposit")
        if effects != 1:
            said = f"{self.other}'s first deposit was taken for a copy of {self.client}'s"
            self.reject("forgets_who_asked", said, expected="one effect", got=f"no effect, {_balance(other)}")
        again, effects = self.deposit(self.client, 1, self.account, self.amount, "a copy: its first reply was lost")
        if effects:
            self.reject(
                "runs_every_copy",
                "a copy of a request was carried out again",
                expected="no second effect",
                got="one more",
            )
        self.same_reply(again, first)

    def same_reply(self, again: Ended, first: Ended) -> None:
        if not again.ok or again.replies[0].balance != first.replies[0].balance:
            said = "the copy was recognised, and its reply was not the reply of the first"
            self.reject("remembers_the_id_but_not_the_reply", said, expected=_balance(first), got=_balance(again))

    def tells_deposits_apart(self) -> None:
        second, effects = self.deposit(self.client, 2, self.account, self.amount, "a new deposit of the same amount")
        if effects != 1:
            said = "two deposits that look alike were taken for one"
            self.reject("dedupe_by_payload", said, expected="one effect for number 2", got=f"none, {_balance(second)}")
        self.second = second

    def stands_late_copies(self) -> None:
        """A copy that was held up on its way, and one that comes when many others have been served."""
        _, effects = self.deposit(self.client, 1, self.account, self.amount, "a copy of number 1, held up on its way")
        if effects:
            said = "a copy of number 1 came after number 2, and was carried out again"
            self.reject("late_duplicate_runs_again", said, expected="no effect", got="one more effect")
        crowd = 150
        self.history.append(f"-> {crowd} other clients make a deposit each")
        for number in range(crowd):
            finish(self.call, self.request(f"{BULK}-{number}", 1, BULK, 1))
        again, effects = self.deposit(self.client, 2, self.account, self.amount, "a copy of number 2")
        if effects:
            said = f"after {crowd} deposits of others, a copy was carried out again"
            self.reject("forgets_too_early", said, expected="no effect", got="one more effect")
        self.same_reply(again, self.second)

    def refuses(self) -> None:
        amount = self.run.random.choice([0, -self.amount])
        ended, effects = self.deposit(self.client, 3, self.account, amount, "nothing to deposit")
        if effects or ended.code is not StatusCode.INVALID_ARGUMENT:
            got = f"{effects} effect(s), {_balance(ended)}"
            self.reject("", f"a deposit of {amount} was not refused", expected="no effect, INVALID_ARGUMENT", got=got)

    def stands_copies_side_by_side(self) -> None:
        """The client has lost patience, and its second try comes while the first is being carried out."""
        client, slow, amount = self.accounts.client(), self.accounts.slow, self.accounts.amount()
        request = self.request(client, 1, slow, amount)
        del self.history[:]
        self.history.append(f"-> {client} number 1: {amount} to {slow}, which takes long")
        first = self.call.future(request, timeout=PATIENCE_S)
        self.child.expect("working", what="your Bank to call ledger.add")
        self.history.append(f"-> {client} number 1: {amount} to {slow}   (a copy, while the first is carried out)")
        second = self.call.future(request, timeout=PATIENCE_S)
        effects = self.effects() + self.effects()
        ended = [result_of(first), result_of(second)]
        self.history += [f"<- first: {_balance(ended[0])}", f"<- copy: {_balance(ended[1])}"]
        right = f"balance {amount}"
        # What a client may make of the copy: the reply, or a status at which it tries again.
        fine = (StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)
        wrong = [e for e in ended if e.code not in fine or (e.ok and e.replies[0].balance != amount)]
        if effects > 1 or wrong:
            said = "two copies of one request were in your method at the same time"
            got = f"{effects} effect(s)" + "".join(f", {_balance(e)}" for e in wrong)
            self.reject("two_copies_at_once", said, expected=f"one effect, {right}", got=got)
        again, effects = self.deposit(client, 1, slow, amount, "a third copy")
        if effects or not again.ok or again.replies[0].balance != amount:
            self.reject("", "a copy after that came out wrong", expected=right, got=_balance(again))

    def forgets(self) -> None:
        """One client makes many deposits; what the server's process keeps must not grow with their number."""
        numbers = iter(range(2, 10**6))
        self._growth(100, numbers)  # whatever is made once, such as threads
        many = 600
        grown = self._growth(many, numbers)
        if grown < 25 * many:
            return
        # An accident of the memory happens once, a table grows on and on.
        grown += self._growth(2 * many, numbers)
        if grown < 45 * 3 * many:
            return
        self.run.reject(
            "table_grows_without_bound",
            f"{3 * many} more deposits of one client, and your Bank remembers all of them",
            expected="memory that does not grow with the number of deposits",
            got=f"{grown // (3 * many)} more bytes for each deposit",
            evidence=[
                f"-> one client makes {3 * many} deposits, each after the reply to the one before",
                f"the server's process keeps {grown} bytes more than before them",
            ],
        )

    def _growth(self, many: int, numbers: Iterator[int]) -> int:
        """How many bytes more the server's process keeps after so many deposits."""
        memory = self.channel.unary_unary("/probe/Remembered")
        before = json.loads(memory(b"", timeout=PATIENCE_S))
        for number in itertools.islice(numbers, many):
            finish(self.call, self.request(f"{BULK}-0", number, BULK, 1))
        return json.loads(memory(b"", timeout=PATIENCE_S)) - before


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
            f"deposit{_pair([deposit['account'], deposit['amount']])}",
            *history,
            f"it returned {_pair(outcome)}",
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
        self.reject(slug, said, _pair(wanted), _pair(outcome))

    def reject(self, slug: str, said: str, expected: object, got: object) -> None:
        self.run.reject(slug, said, expected=expected, got=got, evidence=shortened(self.story))


FATES = {
    "answer": "the reply is sent",
    "lost": "but the reply is lost: UNAVAILABLE",
    "silence": "but no reply comes",
    "down": "not done: UNAVAILABLE",
}


def both_together(run: Run, answer: Answer, accounts: Accounts) -> str:
    """The learner's client and bank; five of the first twelve replies are lost."""
    deposits, wanted, total = [], [], 0
    account, client = accounts.account(), accounts.client()
    lost = sorted(run.random.sample(range(12), 5))
    for _ in range(8):
        deposits.append({"account": account, "amount": accounts.amount(), "attempts": 9, "timeout_s": 5.0})
        total += deposits[-1]["amount"]
        wanted.append(["done", total])
    with answer.start(serve_bank, path=[idl().directory], lost=lost) as bank:
        port = bank.expect("ready", what="your Bank to be served")["port"]
        settings = {"port": port, "client": client, "deposits": deposits}
        with answer.start(use_teller, path=[idl().directory], **settings) as teller:
            got = [teller.expect("outcome", what="Teller.deposit to return")["outcome"] for _ in deposits]
    if got != wanted:
        run.reject(
            "",
            f"your Teller and your Bank together lost count when {len(lost)} replies were lost",
            expected=", ".join(_pair(pair) for pair in wanted),
            got=", ".join(_pair(pair) for pair in got),
        )
    return (
        f"copies, late copies, copies side by side, lost replies, silence; {len(deposits)} deposits through both halves"
    )


def _balance(ended: Ended) -> str:
    return f"{ended} balance {ended.replies[0].balance}" if ended.replies else str(ended)


def _pair(outcome: Any) -> str:
    return f"({', '.join(map(repr, outcome))})" if isinstance(outcome, list) else repr(outcome)
