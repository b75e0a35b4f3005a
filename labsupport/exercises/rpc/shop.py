"""Check of 02.4: a customer calls the learner's shop, which calls a depot of ours that is slow, down or refuses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

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
    serving,
    shortened,
)
from labsupport.exercises.rpc.idl import idl


class Attempts(grpc.UnaryUnaryClientInterceptor):
    """In the child: sees each call that the learner's Shop makes, also one whose time is over before it is sent."""

    def __init__(self, seen: Callable[..., None]) -> None:
        self.seen = seen

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.seen("attempt", method=client_call_details.method.rpartition("/")[2])
        return continuation(client_call_details, request)


def serve_shop(given: Any, tell: Any, depot_port: int, seed: int, sleep_s: float) -> None:
    """In the child: the learner's Shop; its attempts and waits are told, with the time left of the caller's budget.

    Args:
        depot_port: where the check's depot is.
        sleep_s: how long every wait takes in truth; what was asked for is only told.
    """
    import greeter_pb2_grpc

    budget = {"ends": 0.0}

    def seen(event: str, **fields: Any) -> None:
        tell(event, left=budget["ends"] - time.monotonic(), **fields)

    def sleep(seconds: float) -> None:
        seen("sleep", seconds=float(seconds))
        time.sleep(sleep_s)

    class Watched(given.Shop):
        def Buy(self, request: Any, context: Any) -> Any:
            budget["ends"] = time.monotonic() + context.time_remaining()
            try:
                return super().Buy(request, context)
            finally:
                tell("left")

    with channel_to(depot_port) as channel:
        depot = greeter_pb2_grpc.DepotStub(grpc.intercept_channel(channel, Attempts(seen)))
        shop = Watched(depot, sleep, random.Random(seed).random)
        host(tell, lambda server: greeter_pb2_grpc.add_ShopServicer_to_server(shop, server))


def check_deadline_budget(answer: Answer, run: Run) -> str:
    """A customer of ours calls the learner's shop, and the shop calls a depot of ours that is slow, down or refuses."""
    depot = Depot()
    settings = {"path": [idl().directory], "seed": run.random.randrange(10**6)}
    with serving(idl().handlers("Depot", {"Price": depot.price, "Take": depot.take})) as depot_port:
        with answer.start(serve_shop, depot_port=depot_port, sleep_s=0.0, **settings) as child:
            port = child.expect("ready", what="your Shop to be served")["port"]
            with channel_to(port) as channel:
                budget = BudgetCase(run, child, channel, depot)
                budget.sells()
                budget.passes_on_what_is_left()
                budget.has_a_limit_of_its_own()
                budget.passes_on_a_refusal()
                budget.takes_once()
                budget.backs_off()
        # A wait of its own length would end before a small budget does; in this child each takes longer than all of it.
        with answer.start(serve_shop, depot_port=depot_port, sleep_s=1.3, **settings) as child:
            port = child.expect("ready", what="your Shop to be served")["port"]
            with channel_to(port) as channel:
                BudgetCase(run, child, channel, depot).stops_in_time()
    return "deadlines at the second hop, a refusal, a call made once, waits between attempts, a spent budget"


class Depot:
    """The check's own depot; an item's plan says what its calls meet, and every call is kept."""

    def __init__(self) -> None:
        self.plans: dict[str, dict[str, Any]] = {}
        self.calls: list[dict[str, Any]] = []

    def price(self, request: Any, context: grpc.ServicerContext) -> Any:
        plan, call = self._seen("Price", request, context)
        if plan.get("unknown"):
            call["fate"] = "NOT_FOUND"
            context.abort(StatusCode.NOT_FOUND, "no such item")
        if plan.get("down", 0) > 0:
            plan["down"] -= 1
            call["fate"] = "UNAVAILABLE"
            context.abort(StatusCode.UNAVAILABLE, "the depot is being restarted")
        time.sleep(plan.get("slow_s", 0))
        return idl().Receipt(price=plan["price"])

    def take(self, request: Any, context: grpc.ServicerContext) -> Any:
        plan, call = self._seen("Take", request, context)
        if plan.get("lost"):
            call["fate"] = "one taken, but the reply is lost: UNAVAILABLE"
            context.abort(StatusCode.UNAVAILABLE, "the connection broke")
        return idl().Receipt(price=plan["price"])

    def _seen(self, method: str, request: Any, context: grpc.ServicerContext) -> tuple[dict[str, Any], dict[str, Any]]:
        left = context.time_remaining()
        call = {"method": method, "item": request.item, "at": time.monotonic(), "left": left, "fate": "answered"}
        self.calls.append(call)
        return self.plans[request.item], call

    def of(self, item: str, method: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if (call["item"], call["method"]) == (item, method)]


class BudgetCase:
    """The experiments of 02.4."""

    def __init__(self, run: Run, child: Child, channel: grpc.Channel, depot: Depot) -> None:
        self.run, self.child, self.depot = run, child, depot
        self.call = idl().stub(channel, "Shop")["Buy"]

    def buy(self, timeout_s: float | None, **plan: Any) -> tuple[Ended, str, float]:
        """One customer's call; how it ended, the item's name, and when the customer's time is over."""
        item = self.item(**plan)
        over = time.monotonic() + (timeout_s or PATIENCE_S)
        ended = finish(
            self.call if timeout_s else self._without_deadline, idl().Order(item=item), timeout_s or PATIENCE_S
        )
        self.events = list(self._until_left())
        return ended, item, over

    def _without_deadline(self, order: Any, timeout: float) -> Any:
        """Call with no deadline on the wire, and yet not wait for ever."""
        call = self.call.future(order)
        try:
            return call.result(timeout)
        except grpc.FutureTimeoutError:
            call.cancel()
            raise TimeoutError(f"waited {timeout:g} s for Buy, called without a deadline") from None

    def item(self, **plan: Any) -> str:
        name = f"item-{self.run.random.randrange(10**6)}"
        self.depot.plans[name] = {"price": self.run.random.randrange(5, 500), **plan}
        return name

    def reject(self, slug: str, said: str, item: str, over: float | None = None, **fields: Any) -> None:
        self.run.reject(slug, said, evidence=[*self.story(item, over), *evidence_of(self.child)], **fields)

    def story(self, item: str, over: float | None) -> list[str]:
        lines = [f"customer -> shop: Buy {item}" + ("" if over else ", no deadline")]
        for call in self.depot.calls:
            if call["item"] == item:
                given = "no deadline" if call["left"] > ENDLESS_S else f"{call['left']:.1f} s"
                whose = f" (the customer has {over - call['at']:.1f} s left)" if over else ""
                lines.append(f"shop -> depot: {call['method']}, with {given}{whose}: {call['fate']}")
        return shortened(lines)

    def sells(self) -> None:
        """A customer who waits as long as it takes."""
        ended, item, _ = self.buy(None)
        endless = [call for call in self.depot.calls if call["item"] == item and call["left"] > ENDLESS_S]
        if endless:
            self.reject(
                "no_deadline",
                f"the depot was asked for {endless[0]['method']} with no deadline",
                item,
                expected="at most 10 s for each call, also when the customer sets no deadline",
                got="a call that may wait for ever",
            )
        self.is_sold(ended, item)

    def is_sold(self, ended: Ended, item: str) -> None:
        price = self.depot.plans[item]["price"]
        if not ended.ok or ended.replies[0].price != price or len(self.depot.of(item, "Take")) != 1:
            got = f"{ended} {[reply.price for reply in ended.replies]}, {len(self.depot.of(item, 'Take'))} taken"
            self.reject("", "Buy went wrong", item, expected=f"OK, price {price}, one taken", got=got)

    def passes_on_what_is_left(self) -> None:
        """The depot is slow with the price: what it is given for the second call must be less by that time."""
        for timeout_s, plan in ((5.0, {"slow_s": 1.6}), (9.5, {})):
            # A machine that stands still for a moment makes any budget look wrong; a wrong one looks so each time.
            for _ in range(3):
                ended, item, over = self.buy(timeout_s, **plan)
                wrong = self._misspent(item, over, timeout_s)
                if ended.ok and not wrong:
                    break
            if wrong:
                said, expected, got = wrong
                self.reject("fresh_full_deadline_per_hop", said, item, over, expected=expected, got=got)
            self.is_sold(ended, item)

    def _misspent(self, item: str, over: float, timeout_s: float) -> tuple[str, str, str] | None:
        """What is wrong with the time that the depot was given: the sentence, the right time and the one given."""
        slack_s = 0.8
        calls = self.depot.of(item, "Price") + self.depot.of(item, "Take")
        for call in calls:
            longer = call["at"] + call["left"] - over
            if call["left"] > ENDLESS_S:
                said = f"the depot was asked for {call['method']} with no deadline"
                self.reject("no_deadline", said, item, over, expected="what is left", got="no deadline")
            if longer > slack_s:
                said = f"{call['method']} may go on for {longer:.1f} s after the customer's time is over"
                return said, f"at most {max(0.0, over - call['at']):.1f} s", f"{call['left']:.1f} s"
        if calls and calls[0]["left"] < 0.7 * timeout_s:
            said = "the depot gets a time of your own, whatever the customer has"
            return said, f"nearly {timeout_s:g} s", f"{calls[0]['left']:.1f} s"
        return None

    def has_a_limit_of_its_own(self) -> None:
        """A customer who would wait for a minute."""
        ended, item, over = self.buy(60.0)
        longest = max((call["left"] for call in self.depot.calls if call["item"] == item), default=0.0)
        if longest > 10.5:
            said = "a patient customer makes your Shop as patient"
            self.reject("as_patient_as_its_customer", said, item, over, expected="at most 10 s", got=f"{longest:.1f} s")
        self.is_sold(ended, item)

    def passes_on_a_refusal(self) -> None:
        ended, item, over = self.buy(8.0, unknown=True)
        asked = len(self.depot.of(item, "Price"))
        if asked > 1:
            said = "the depot said NOT_FOUND, and was asked again"
            self.reject("retries_every_error", said, item, over, expected="1 attempt", got=f"{asked} attempts")
        if ended.code is StatusCode.UNKNOWN:
            said = "the depot said NOT_FOUND, and your customer was told UNKNOWN"
            self.reject("downstream_error_becomes_unknown", said, item, over, expected="NOT_FOUND", got=ended)
        if ended.code is not StatusCode.NOT_FOUND or self.depot.of(item, "Take"):
            taken = len(self.depot.of(item, "Take"))
            self.reject("", "the depot said NOT_FOUND", item, over, expected="NOT_FOUND", got=f"{ended}, {taken} taken")

    def takes_once(self) -> None:
        ended, item, over = self.buy(8.0, lost=True)
        taken = len(self.depot.of(item, "Take"))
        if taken > 1:
            self.reject(
                "retries_a_non_idempotent_call",
                f"one customer bought one {item}, and {taken} were taken off the shelf",
                item,
                over,
                expected="Take is tried once",
                got=f"{taken} times",
            )
        if ended.code is not StatusCode.UNAVAILABLE or not taken:
            slug = "last_call_unguarded" if ended.code is StatusCode.UNKNOWN else ""
            said = f"Take failed with UNAVAILABLE, and your customer was told {ended.code.name}"
            self.reject(slug, said, item, over, expected="UNAVAILABLE", got=ended)

    def backs_off(self) -> None:
        """Many customers, the depot down for each one's first four attempts: compare the waits."""
        down, customers = 4, 24
        waits: list[list[float]] = []
        for _ in range(customers):
            ended, item, over = self.buy(9.0, down=down)
            waits.append([event["seconds"] for event in self.events if event["event"] == "sleep"])
            attempts = self.depot.of(item, "Price")
            if len(attempts) == 1 and not ended.ok:
                said = "the depot was down for a moment, and the price was not asked for again"
                self.reject("gives_up_at_once", said, item, over, expected="another attempt", got=ended)
            if sum(waits[-1]) <= 0 and len(attempts) > 1:
                self._waits_by_itself(item, over, down)
            if ended.code is StatusCode.UNAVAILABLE and len(attempts) <= down:
                said = f"the price was asked for {len(attempts)} times, and then no more, with time to go"
                self.reject("", said, item, over, expected="attempts while there is time", got=ended)
            self.is_sold(ended, item)
            if len(waits[-1]) != down:
                self.reject("", "one wait for each further attempt", item, over, expected=down, got=waits[-1])
        shown = [f"customer {n}: waits " + ", ".join(f"{s:.3f} s" for s in w) for n, w in enumerate(waits[:4], 1)]
        if all(wait == waits[0] for wait in waits):
            said = f"{customers} customers, and all of them wait the same times: they come back together"
            self.run.reject("no_jitter", said, expected="waits that differ", got="the same waits", evidence=shown)
        first, last = (sum(wait[place] for wait in waits) / customers for place in (0, -1))
        if last < 2 * first:
            self.run.reject(
                "constant_backoff",
                f"the wait before attempt {down + 1} is no longer than the first one, on the average of {customers}",
                expected=f"a mean that doubles each time: {first:.3f} s, then {first * 2:.3f} s, …",
                got=f"{first:.3f} s, and {last:.3f} s in the end",
                evidence=shown,
            )

    def _waits_by_itself(self, item: str, over: float, down: int) -> NoReturn:
        """There was no self.sleep between attempts: was there another wait? The quickest of a few tries tells."""
        tries = [item, *(self.buy(9.0, down=down)[1] for _ in range(3))]
        took = min(calls[-1]["at"] - calls[0]["at"] for calls in (self.depot.of(name, "Price") for name in tries))
        slug = "immediate_retries" if took < 0.1 else ""
        said = f"attempt after attempt, and no self.sleep between them: {down + 1} in {took * 1000:.0f} ms"
        self.reject(slug, said, item, over, expected="a self.sleep before each further attempt", got="none")

    def stops_in_time(self) -> None:
        """The depot stays down, and each wait takes longer than the customer's whole time."""
        finish(self.call, idl().Order(item=self.item(down=10**6)), timeout_s=1.0)
        history = [
            "customer -> shop: Buy, 1.0 s left; the depot is down, and every wait takes 1.3 s, for the experiment"
        ]
        late = {"attempt": 0, "sleep": 0}
        for event in self._until_left():
            left, name = event["left"], event["event"]
            late[name] += left < -0.1
            when = f"{left:.1f} s left" if left >= 0 else f"{-left:.1f} s after the customer's time"
            what = "shop -> depot: Price" if name == "attempt" else f"shop waits {event['seconds']:.3f} s"
            history.append(f"{what}, {when}")
            if max(late.values()) > 1:
                self.run.reject(
                    "retries_after_the_budget_is_spent",
                    "the customer's time was over, and your Shop went on trying for it",
                    expected="no attempt and no wait after that",
                    got=f"{late['attempt']} attempts and {late['sleep']} waits so far",
                    evidence=history,
                )

    def _until_left(self) -> Iterator[dict[str, Any]]:
        """What the shop does until its method ends."""
        for event in self.child.events(PATIENCE_S):
            if event["event"] == "left":
                return
            yield event
