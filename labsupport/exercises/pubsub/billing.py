"""Exercise 04.3: a durable consumer that is killed twice and books each order once.

An ack is a message to the delivery's reply subject, `$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE…`: empty or +ACK, -NAK,
+WPI (work in progress), +TERM (https://docs.nats.io/reference/reference-protocols/nats_api_reference, ADR-15). A
key-value bucket is a stream of the subjects `$KV.BUCKET.KEY` (ADR-8). The ADRs are in
https://github.com/nats-io/nats-architecture-and-design.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, NoReturn

import nats
from nats.js.api import StorageType
from nats.js.errors import NotFoundError

from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import Run
from labsupport.exercises.pubsub.stage import PATIENCE_S, Actor, Frame, Stage, decoded, pass_over, reins

STREAM, SUBJECTS, BUCKET = "ORDERS", "orders.*", "accounts"
ACK_WAIT_S = 1.0
LONG_S = 10.0  # far longer than a right answer needs, however busy the machine
WORDS = {b"": "ack", b"+ACK": "ack", b"-NAK": "nak", b"+WPI": "still working", b"+TERM": "give up"}


async def drive_billing(
    given: Any, tell: Callable[..., None], url: str, direct: str, control: str, ack_wait_s: float, held: bool
) -> None:
    """In the child: run the learner's consumer when told to; with `held`, each price waits for a permit."""
    begin = asyncio.Event()
    permits = asyncio.Semaphore(0)

    async def price(order: dict[str, Any]) -> int:
        tell("pricing", id=order["id"])
        if held:
            await permits.acquire()
        return sum(order["items"])

    nc = await nats.connect(url, error_cb=pass_over)
    async with reins(tell, direct, control, begin=begin.set, permit=permits.release):
        await begin.wait()
        await given.billing(nc, price, ack_wait_s)
        tell("returned")
        await asyncio.Event().wait()


async def check_billing(answer: Answer, run: Run) -> str:
    """Three lives of one consumer: killed before a booking, killed after the first write of one, left alone."""
    async with Stage(answer, run) as stage:
        judge = BillingJudge(stage, run)
        stage.watch = judge.still_runs
        await judge.prepare()
        lives = [await stage.child(drive_billing, ack_wait_s=ACK_WAIT_S, held=held) for held in (True, False, False)]
        keeping = asyncio.ensure_future(judge.keep_back())
        try:
            await judge.first_life(lives[0])
            await judge.second_life(lives[1])
            await judge.third_life(lives[2])
            await judge.totals()
        finally:
            keeping.cancel()
            await judge.remove()
    return "killed before a booking and right after one; both orders came again, and each order was booked once"


class OrderWire:
    """What passed between one child and the server, in the words of the exercise: deliveries, acks and writes."""

    def __init__(self, actor: Actor) -> None:
        self.up, self.down = actor.relay.up, actor.relay.down

    def deliveries(self, sequence: int) -> list[Frame]:
        """The deliveries of the message with this number in the stream."""
        return [frame for frame in list(self.down.passed) if acked_message(frame.reply) == sequence]

    def has_brought(self, order_id: str) -> bool:
        """Whether an order has been delivered, which may be before the shop knows its number."""
        return any(acked_message(frame.reply) and order_id.encode() in frame.body for frame in list(self.down.passed))

    def said(self, word: str, sequence: int) -> list[Frame]:
        """What the child said about it: "ack", "still working", ..."""
        passed = list(self.up.passed)
        return [frame for frame in passed if acked_message(frame.subject) == sequence and WORDS.get(frame.body) == word]

    def writes(self) -> list[Frame]:
        return [frame for frame in list(self.up.passed) if is_write(frame)]


def acked_message(subject: str) -> int | None:
    """The stream's number of the message that an ack subject is about: 9 tokens, newer ones 11 or 12 (ADR-15)."""
    tokens = subject.split(".")
    if tokens[:2] != ["$JS", "ACK"] or len(tokens) < 9:
        return None
    return int(tokens[5] if len(tokens) == 9 else tokens[7])


def is_write(frame: Frame) -> bool:
    return frame.verb in ("PUB", "HPUB") and frame.subject.startswith("$KV.")


class BillingJudge:
    """The experiment of 04.3: what each life of the consumer does, and what the accounts hold in the end.

    The orders: "first" is for looking at a life that goes well; "dropped" is in hand, not booked, when the first life
    ends; "later" comes after it on the same account; "cut" is cut off after one write; "repeated" is sent twice.
    """

    def __init__(self, stage: Stage, run: Run) -> None:
        self.stage, self.run, self.js = stage, run, stage.nc.jetstream()
        numbers = iter(run.random.sample(range(100, 1000), 9))
        self.ids = {name: f"o-{next(numbers)}" for name in ("first", "dropped", "later", "cut", "repeated")}
        self.accounts = {name: f"{name}-{next(numbers)}" for name in ("ann", "bob", "carl", "eve")}
        draw = run.random.randrange
        self.prices = {name: draw(2, 99) for name in ("first", "dropped", "cut", "repeated")} | {
            "later": 1000 * draw(1, 9)
        }
        self.sequence: dict[str, int] = {}  # a published order -> its number in the stream
        self.pending: list[str] = []  # ack subjects of orders that a dead consumer had in hand
        self.writes_per_order = 0
        self.log: list[str] = []

    # ---------------------------------------------------------------- before and after

    async def prepare(self) -> None:
        await self.remove()
        await self.js.add_stream(name=STREAM, subjects=[SUBJECTS], storage=StorageType.MEMORY)
        self.bucket = await self.js.create_key_value(bucket=BUCKET, storage=StorageType.MEMORY)
        for account in self.accounts.values():
            await self.bucket.put(account, json.dumps({"total": 0, "orders": []}).encode())
        await self._publish("first", "ann")

    async def remove(self) -> None:
        """On a server that is not ours, what an earlier check left behind is in the way."""
        for name in (STREAM, f"KV_{BUCKET}"):
            with contextlib.suppress(NotFoundError):
                await self.js.delete_stream(name)

    async def _publish(self, name: str, account: str, again: str = "") -> None:
        price, account = self.prices[name], self.accounts[account]
        order = {"id": self.ids[name], "account": account, "items": [price - 1, 1]}
        stored = await self.js.publish(f"orders.{account}", json.dumps(order).encode())
        self.sequence[name + again] = stored.seq
        self.log.append(f"shop: order {order['id']} of {account}, price {price}{again and ', sent a second time'}")

    # ---------------------------------------------------------------- the lives

    async def first_life(self, actor: Actor) -> None:
        """It does one order well, and is killed while it prices the next."""
        wire = OrderWire(actor)
        await self._begin(actor)
        await self._takes_what_is_there(wire)
        await self._still_working(actor, wire)
        await actor.command("permit")
        await self._acknowledges(actor, wire)
        await self._publish("dropped", "bob")
        await self.stage.until(
            lambda: any(event["id"] == self.ids["dropped"] for event in actor.heard("pricing")),
            "price() to be called for the next order",
        )
        await self._kill(actor, "dropped")
        self.log += [
            f"your consumer: calls price() for {self.ids['dropped']}",
            "SIGKILL",
        ]

    async def second_life(self, actor: Actor) -> None:
        """Newer orders come first; it is killed when one write for the second of them has passed, and nothing else."""
        wire = OrderWire(actor)
        await self._publish("later", "bob")
        await self._begin(actor)
        first, later = self.sequence["first"], self.sequence["later"]
        await self.stage.until(
            lambda: wire.deliveries(first) or wire.said("ack", later), "the newer order to be acknowledged"
        )
        if wire.deliveries(first):
            self.run.reject(
                "fresh_durable_name",
                f"after its restart your consumer was given {self.ids['first']} again, although it was acknowledged",
                expected="the server goes on where the consumer was",
                got="a new consumer, which begins with the first order of the stream",
                evidence=[*self.log, f"server: delivers {self.ids['first']}"],
            )
        self.log.append(f"your consumer: books {self.ids['later']}, acknowledges it")
        await self._cut_off(actor, wire)

    async def _cut_off(self, actor: Actor, wire: OrderWire) -> None:
        up = actor.relay.up
        up.shut_after = lambda frame: is_write(frame) and wire.has_brought(self.ids["cut"])
        await self._publish("cut", "carl")
        await self.stage.until(lambda: not up.is_open, "the next order to be booked")
        *before, last = wire.writes()
        self.writes_per_order = len(before)
        await self._is_stored(last)
        await self._kill(actor, "cut")
        self.log += [
            f"your consumer, for {self.ids['cut']}: writes {last.subject} = {last.body.decode(errors='replace')}",
            "SIGKILL, before it says anything else",
        ]

    async def third_life(self, actor: Actor) -> None:
        """An order that the shop sends twice; then the two that were in hand at the kills come back."""
        wire = OrderWire(actor)
        await self._publish("repeated", "eve")
        await self._publish("repeated", "eve", again=" again")
        await self._begin(actor)
        for name in ("repeated", "repeated again"):
            await self._acked(wire, name)
        for name, subject in zip(("dropped", "cut"), list(self.pending), strict=True):
            self.pending.remove(subject)
            await self.stage.nc.publish(subject, b"-NAK")  # as if its ack wait were over
            self.log.append(f"server: delivers {self.ids[name]} again")
            await self._acked(wire, name)

    def still_runs(self, actor: Actor) -> None:
        if actor.heard("returned"):
            self.run.reject(
                "",
                "billing() returned: orders that come later are never taken",
                expected="it runs until its process dies",
                got="it returned",
                evidence=[*self.log, "billing() returns"],
            )

    async def _begin(self, actor: Actor) -> None:
        await self.stage.until(lambda: actor.heard("connected"), "your consumer's process to connect")
        await actor.command("begin")
        self.log.append("your consumer is started")

    async def _acked(self, wire: OrderWire, name: str) -> None:
        await self.stage.until(
            lambda: wire.said("ack", self.sequence[name]), f"order {self.ids[name.split()[0]]} to be acknowledged"
        )
        self.log.append(f"your consumer: acknowledges {self.ids[name.split()[0]]}")

    async def _kill(self, actor: Actor, in_hand: str) -> None:
        await actor.kill()
        self.pending.append(OrderWire(actor).deliveries(self.sequence[in_hand])[-1].reply)
        # The server lets nobody else subscribe to a push consumer before it has noticed that its subscriber is gone.
        deadline = time.monotonic() + PATIENCE_S
        while any(about.push_bound for about in await self.js.consumers_info(STREAM)) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def keep_back(self) -> None:
        """Prolong the ack waits of what dead consumers had in hand, so that the check decides when it comes back."""
        while True:
            for subject in list(self.pending):
                await self.stage.nc.publish(subject, b"+WPI")
            await asyncio.sleep(ACK_WAIT_S / 5)

    # ---------------------------------------------------------------- what a life that goes well looks like

    async def _takes_what_is_there(self, wire: OrderWire) -> None:
        """An order is in the stream already: a consumer of what is new is never given it."""
        first = self.sequence["first"]
        for _ in range(int(PATIENCE_S / 0.1)):
            if await self.stage.happens(lambda: wire.deliveries(first), "an order to be delivered", 0.1):
                return
            known = await self.js.consumers_info(STREAM)
            if known and all(about.num_pending == 0 and about.delivered.consumer_seq == 0 for about in known):
                self.run.reject(
                    "only_new_orders",
                    "an order was in the stream before your consumer was created, and it will never be given it",
                    expected="the consumer begins with the first order of the stream",
                    got="it begins with the next order that comes",
                    evidence=[*self.log, f"server: consumer {known[0].name} has 0 orders to deliver"],
                )
        raise TimeoutError(f"waited {PATIENCE_S:g} s for your consumer to take an order from the stream")

    async def _still_working(self, actor: Actor, wire: OrderWire) -> None:
        """price() takes longer than the ack wait: until it returns the consumer says so, and does not acknowledge."""
        first, long_s = self.sequence["first"], 6 * ACK_WAIT_S
        await self.stage.until(lambda: actor.heard("pricing") or wire.said("ack", first), "price() to be called")
        enough = await self.stage.happens(
            lambda: wire.said("ack", first) or len(wire.said("still working", first)) >= 2, "signs of work", long_s
        )
        history = [*self.log, f"server: delivers {self.ids['first']}", "price() is called, and takes its time"]
        if wire.said("ack", first):
            self._ack_came_early(history)
        if not enough:
            signs = len(wire.said("still working", first))
            self.run.reject(
                "work_longer_than_ack_wait",
                f"price() took {long_s:g} s, the ack wait is {ACK_WAIT_S:g} s, and the server heard "
                f"{'one sign' if signs else 'nothing'} from you: it takes the order for lost and delivers it again",
                expected="a sign of work within each ack wait, until the order is booked",
                got=f"{signs} signs in {long_s / ACK_WAIT_S:g} ack waits",
                evidence=history,
            )

    def _ack_came_early(self, history: list[str]) -> NoReturn:
        first = self.ids["first"]
        self.run.reject(
            "ack_before_work",
            f"you acknowledged {first} before it was booked",
            expected="the booking, then the ack",
            got="the ack, and nothing booked",
            evidence=[*history, f"your consumer: acknowledges {first}; nothing is written"],
        )

    async def _acknowledges(self, actor: Actor, wire: OrderWire) -> None:
        first = self.sequence["first"]
        await self.stage.until(
            lambda: wire.said("ack", first) or wire.writes() or len(actor.heard("pricing")) > 1,
            "the order to be booked",
        )
        acked = await self.stage.happens(lambda: wire.said("ack", first), "an ack", LONG_S / 2)
        history = [*self.log, f"server: delivers {self.ids['first']}", "price() returns"]
        if not acked:
            await self.stage.happens(lambda: len(wire.deliveries(first)) > 1, "the order to come again", LONG_S)
            self.run.reject(
                "no_ack",
                f"you never acknowledged {self.ids['first']}, and it was delivered {len(wire.deliveries(first))} times",
                expected="an ack after the booking",
                got="no ack",
                evidence=[*history, f"server, after the ack wait: delivers {self.ids['first']} again"],
            )
        passed = list(wire.up.passed)
        if not any(is_write(frame) for frame in passed[: passed.index(acked[0])]):
            self._ack_came_early(history)
        self.log.append(f"your consumer: books {self.ids['first']}, acknowledges it")

    async def _is_stored(self, write: Frame) -> None:
        """Wait until the server has stored what passed last."""
        bucket = write.subject.split(".")[1]
        for _ in range(int(PATIENCE_S / 0.02)):
            with contextlib.suppress(NotFoundError):
                if (await self.js.get_last_msg(f"KV_{bucket}", write.subject)).data == write.body:
                    return
            await asyncio.sleep(0.02)
        self.run.unknown(f"the server did not store what was written to {write.subject}")

    # ---------------------------------------------------------------- the end

    async def totals(self) -> None:
        found = {who: await self._total(account) for who, account in self.accounts.items()}
        owed = {
            "ann": self.prices["first"],
            "bob": self.prices["dropped"] + self.prices["later"],
            "carl": self.prices["cut"],
            "eve": self.prices["repeated"],
        }
        if found == owed:
            return
        later, dropped = divmod(found["bob"], self.prices["later"])
        cut, odd = divmod(found["carl"], self.prices["cut"])
        repeated, odd_too = divmod(found["eve"], self.prices["repeated"])
        cut_times = f"{self.ids['cut']} was booked {_times(cut)}"
        if found["ann"] != owed["ann"] or later != 1 or odd or odd_too:
            name, what = "", "an account holds a sum that its orders do not explain"
        elif self.writes_per_order > 1 and cut != 1:
            name, what = "effect_and_mark_in_two_steps", f"killed between two writes: in the end {cut_times}"
        elif dropped == 0:
            name, what = "high_water_mark", f"{self.ids['dropped']} came back after a newer order, and was never booked"
        elif cut > 1 and repeated > 1:
            name, what = "not_idempotent", f"{cut_times}, once for each delivery"
        elif cut > 1:
            name, what = "remembers_in_memory", f"{cut_times}, before the restart and after it"
        elif repeated > 1:
            name = "sequence_as_identity"
            what = f"{self.ids['repeated']} was sent twice by the shop, and booked {_times(repeated)}"
        else:
            name, what = "", "the sums on the accounts are wrong"
        holds = [
            f"account {self.accounts[who]}: {found[who]}, should be {owed[who]}"
            for who in found
            if found[who] != owed[who]
        ]
        self.run.reject(name, what, expected=self._sums(owed), got=self._sums(found), evidence=[*self.log, *holds])

    def _sums(self, totals: dict[str, int]) -> str:
        return ", ".join(f"{self.accounts[who]} {total}" for who, total in totals.items())

    async def _total(self, account: str) -> int:
        value = (await self.bucket.get(account)).value
        record = decoded(value)
        if not isinstance(record, dict) or not isinstance(record.get("total"), int):
            self.run.reject(
                "",
                f"the account {account} is no JSON object with a number as its total any more",
                expected='{"total": 12, ...}',
                got=value.decode(errors="replace"),
                evidence=self.log,
            )
        return record["total"]


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")
