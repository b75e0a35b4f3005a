"""Check of 02.3: copies of deposits for the learner's bank; with `teller`, for the client, and both together."""

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
    PATIENCE_S,
    Ended,
    channel_to,
    evidence_of,
    finish,
    host,
    result_of,
)
from labsupport.exercises.rpc.idl import idl
from labsupport.exercises.rpc.teller import Accounts, TellerCase, pair, use_teller

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
            bank.goes_on_after_a_gap()
            bank.stands_copies_side_by_side()
            bank.forgets()
    TellerCase(run, answer, accounts).tries_until_it_knows()
    return both_together(run, answer, accounts)


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

    def goes_on_after_a_gap(self) -> None:
        """Number 3 was refused, and number 4 never arrived."""
        lost = "number 4 was lost on its way, and its client gave it up"
        ended, effects = self.deposit(self.client, 5, self.account, self.amount, lost)
        if effects != 1 or not ended.ok:
            said = "a client had given one deposit up, and its next one was not made"
            self.reject("gap_taken_for_a_mistake", said, expected="one effect", got=f"{effects}, {_balance(ended)}")

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
            expected=", ".join(map(pair, wanted)),
            got=", ".join(map(pair, got)),
        )
    return (
        f"copies, late copies, copies side by side, lost replies, silence; {len(deposits)} deposits through both halves"
    )


def _balance(ended: Ended) -> str:
    return f"{ended} balance {ended.replies[0].balance}" if ended.replies else str(ended)
