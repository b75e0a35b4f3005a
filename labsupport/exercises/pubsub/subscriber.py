"""Exercise 04.1: a subscriber that is ready when it says so, hears what it should, and leaves nothing behind.

Subjects and their wildcards: https://docs.nats.io/nats-concepts/subjects. A subscription counts when the server has
read its SUB line (https://docs.nats.io/reference/reference-protocols/nats-protocol), which a relay can hold back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import nats

from labsupport.exercises.answer import Answer, ChildEnded
from labsupport.exercises.checking import Run
from labsupport.exercises.host import learner_frames
from labsupport.exercises.pubsub.stage import Actor, Stage, reins, round_trip

SILENCE_S = 1.3  # longer than the one second after which nats-py's next_msg gives up by itself
BACKLOG = 20
SUBSCRIBED_S = 8.0  # less than the ten seconds after which the client itself gives up a flush


async def drive_subscriber(
    given: Any, tell: Callable[..., None], url: str, direct: str, control: str, prefix: str
) -> None:
    """In the child: run the learner's subscriber when told to, each message held until a permit is given."""
    begin, stop = asyncio.Event(), asyncio.Event()
    permits = asyncio.Semaphore(0)
    ready: list[bool] = []
    over: list[bool] = []

    async def handle(message: Any) -> None:
        tell("begun", subject=message.subject, text=message.data.decode())
        await permits.acquire()
        if not over:  # what is handled after the function has returned would not be: its process would have ended
            tell("handled", subject=message.subject, text=message.data.decode())

    def is_ready() -> None:
        ready.append(True)
        tell("ready")

    async def complain(error: Exception) -> None:
        if learner_frames(error):  # what a callback raises, the client only logs
            tell.failed(error)

    nc = await nats.connect(url, error_cb=complain)
    async with reins(
        tell,
        direct,
        control,
        begin=begin.set,
        stop=stop.set,
        is_ready=lambda: bool(ready),
        permit=lambda count: [permits.release() for _ in range(count)] and None,
        flush=lambda: round_trip(nc),
        look=lambda: None,
    ):
        await begin.wait()
        await given.subscriber(nc, prefix, handle, is_ready, stop)
        over.append(True)
        tell("returned")
        await asyncio.Event().wait()


async def check_subscriber(answer: Answer, run: Run) -> str:
    """Two children one after the other: the first is judged on what it hears, the second on what it leaves behind."""
    async with Stage(answer, run) as stage:
        prefix = f"plant{run.random.randrange(10, 99)}.hall{run.random.randrange(10, 99)}"
        first = await stage.child(drive_subscriber, prefix=prefix)
        second = await stage.child(drive_subscriber, prefix=prefix)
        judge = SubscriberJudge(stage, run, prefix)
        await judge.readiness(first)
        await judge.routing(first)
        await judge.silence(first)
        await judge.one_at_a_time(first)
        await judge.backlog(first)
        await judge.in_flight(second)
    return f"heard everything below {prefix} and nothing else, was ready when it said so, and left nothing behind"


class SubscriberJudge:
    """The experiments of 04.1, each of which separates one mistake from the others."""

    def __init__(self, stage: Stage, run: Run, prefix: str) -> None:
        self.stage, self.run, self.prefix = stage, run, prefix
        self.number = run.random.randrange(100, 900)

    async def readiness(self, actor: Actor) -> None:
        """Hold back what it sends: whoever says "ready" now says it before the server can know of the subscription."""
        up = actor.relay.up
        await self.stage.until(lambda: actor.heard("connected"), "your function's process to connect")
        up.shut()
        await actor.command("begin")

        def asked() -> bool:
            verbs = {frame.verb for frame in list(up.waiting)}
            return "SUB" in verbs and not verbs.isdisjoint({"PING", "PUB", "HPUB"})

        await self.stage.happens(lambda: asked() or actor.heard("ready", "returned"), "a subscription", SUBSCRIBED_S)
        if not any(frame.verb == "SUB" for frame in up.waiting):
            self._must_still_run(actor)
            self.run.reject(
                "",
                f"your function has begun, and after {SUBSCRIBED_S:g} s it has not subscribed to anything",
                expected="a subscription on its way to the server",
                got="none; was every coroutine awaited?",
                evidence=[f"on the wire: {frame.verb}" for frame in up.waiting] or ["nothing is on the wire"],
            )
        held = [f"on the wire, held back: {frame.verb} {frame.subject}".rstrip() for frame in up.waiting]
        if await actor.command("is_ready"):
            await self._reject_early(actor, held)
        up.open()
        await self.stage.until(lambda: actor.heard("ready", "returned"), "your function to call ready")
        self._must_still_run(actor)

    async def _reject_early(self, actor: Actor, held: list[str]) -> NoReturn:
        subject = f"{self.prefix}.early"
        try:
            await self.stage.nc.request(subject, b"are you there?", timeout=5)
            answered = "somebody answered"
        except nats.errors.NoRespondersError:
            answered = "server: nobody has subscribed to that"
        except nats.errors.TimeoutError:
            answered = "no answer"
        self.run.reject(
            "ready_before_flush",
            "you called ready() while the server had not yet heard of your subscription",
            expected="ready() after a round trip: the server has answered what was sent after the subscription",
            got="ready() while the subscription was still on its way",
            evidence=[*held, "your function: ready()", f"publisher: asks who listens to {subject}", answered],
        )

    async def routing(self, actor: Actor) -> None:
        """What the server sends it is what it subscribed to: seen on the wire, whatever it does with it."""
        inside = [f"{self.prefix}.{tail}" for tail in ("temperature", "line3.motor.speed", "line3.alarm")]
        outside = [
            f"{self.prefix}x.temperature",
            self.prefix.rpartition(".")[0] + ".yard.line3.alarm",
            self.prefix,
            "other." + self.prefix + ".alarm",
        ]
        await actor.command(
            "flush"
        )  # it said that it is ready; see `round_trip` for why we do not rely on its own flush
        subjects = [*inside, *outside]
        self.run.random.shuffle(subjects)
        await self._publish(subjects)
        await actor.command("permit", count=len(inside))
        await actor.command("flush")
        came = [frame.subject for frame in actor.relay.down.passed if frame.verb in ("MSG", "HMSG")]
        sent = [subject for subject in subjects if subject in inside]
        came_in, came_out = [s for s in came if s in inside], [s for s in came if s in outside]
        evidence = [f"published {s}: {'sent to you' if s in came else 'not sent to you'}" for s in subjects]
        evidence += [f"your subscription: SUB {s}" for s in self._subscribed(actor)]
        expected, got = f"everything below {self.prefix}, at any depth, and nothing else", ", ".join(came) or "nothing"
        if missed := [s for s in sent if s not in came_in]:
            name = "star_instead_of_greater" if came_in else "no_wildcard"
            what = f"a message on {missed[0]} never reached you"
            self.run.reject(name, what, expected=expected, got=got, evidence=evidence)
        if came_out:
            name = "subscribes_to_everything" if came_out != [self.prefix] else ""
            what = f"the server sent you {came_out[0]}, which is not below {self.prefix}"
            self.run.reject(name, what, expected=expected, got=", ".join(came_out) + " as well", evidence=evidence)
        if came_in != sent:
            self.run.reject("", "messages reached you twice", expected=", ".join(sent), got=got, evidence=evidence)
        await self._all_handled(actor, sent, evidence)

    async def _all_handled(self, actor: Actor, sent: list[str], evidence: list[str]) -> None:
        def handled() -> list[str]:
            return [event["subject"] for event in actor.heard("handled")]

        with contextlib.suppress(TimeoutError):
            await self.stage.until(
                lambda: len(handled()) >= len(sent) or actor.heard("returned"), "all to be handled", 10
            )
        if handled() != sent:
            self._must_still_run(actor)
            self.run.reject(
                "",
                "what reached you was not handed to handle(), each message once and in its order",
                expected=", ".join(sent),
                got=", ".join(handled()) or "nothing",
                evidence=evidence,
            )

    async def silence(self, actor: Actor) -> None:
        """Nothing is published for a while. That is no reason to leave."""
        try:
            await self.stage.happens(lambda: actor.heard("returned"), "nothing", SILENCE_S)
        except ChildEnded as ended:
            if not ended.child.failure or "Timeout" not in ended.child.failure.kind:
                raise
            how = f"ended by {ended.child.failure.lines[-1]}"
        else:
            if not actor.heard("returned"):
                return
            how = "returned"
        self.run.reject(
            "silence_ends_it",
            "nothing was published for a moment, and your function took that for the end",
            expected="it listens until stop is set",
            got=f"it {how} while stop was not set",
            evidence=[f"publisher: silent for {SILENCE_S} s", f"your function: {how}"],
        )

    async def one_at_a_time(self, actor: Actor) -> None:
        """With every message held in handle(), only one of several may be in it."""
        subjects = [f"{self.prefix}.step"] * 3
        before = len(actor.heard("begun"))
        await self._publish(subjects)
        await actor.command("flush")
        await self.stage.until(lambda: len(actor.heard("begun")) > before, "the next message to be handled")
        for _ in range(8):  # turns of the child's event loop, in which a task that exists would begin
            await actor.command("look")
        begun = actor.heard("begun")[before:]
        if len(begun) > 1:
            self.run.reject(
                "handles_in_background",
                "a message was handed to handle() while the one before it was not finished",
                expected="one message at a time, in order",
                got=f"{len(begun)} at the same time",
                evidence=[f"handle({event['text']}) begins, none has finished" for event in begun],
            )

    async def backlog(self, actor: Actor) -> None:
        """Tell it to stop when all messages have reached its client and the first is still being handled."""
        done = len(actor.heard("handled"))
        await self._publish([f"{self.prefix}.backlog"] * BACKLOG)
        await actor.command("flush")
        waiting = BACKLOG + 3
        await actor.command("stop")
        await self._sign_of_leaving(actor)
        await actor.command("permit", count=waiting)
        await self._left_nothing(
            actor,
            done,
            waiting,
            "drops_backlog_on_exit",
            f"stop was set while {waiting} messages waited in your client",
        )
        await actor.kill()

    async def in_flight(self, actor: Actor) -> None:
        """Tell it to stop when the messages have left the server and have not reached its client."""
        await self.readiness(actor)
        actor.relay.down.shut()
        await self._publish([f"{self.prefix}.late"] * BACKLOG)
        await actor.command("permit", count=BACKLOG)
        await actor.command("stop")
        await self._sign_of_leaving(actor)
        actor.relay.down.open()
        await self._left_nothing(
            actor,
            0,
            BACKLOG,
            "empties_only_its_own_queue",
            f"stop was set while {BACKLOG} messages were on the wire to you",
        )

    async def _sign_of_leaving(self, actor: Actor) -> None:
        """It unsubscribes, closes or returns. One that looks at stop only between two messages does so later."""
        up = actor.relay.up

        def leaves() -> bool:
            unsubscribed = any(frame.verb == "UNSUB" for frame in [*up.passed, *up.waiting])
            return unsubscribed or actor.relay.closed or bool(actor.heard("returned"))

        await self.stage.happens(leaves, "a sign that your function is leaving", 2.0)

    async def _left_nothing(self, actor: Actor, done: int, waiting: int, name: str, when: str) -> None:
        await self.stage.until(lambda: actor.heard("returned"), "your function to return after stop was set")
        handled = actor.heard("handled")[done:]
        if len(handled) != waiting:
            self.run.reject(
                name,
                f"{when}, and {waiting - len(handled)} of them were never handled",
                expected=f"all {waiting} handled before your function returns",
                got=f"{len(handled)} handled",
                evidence=[
                    f"publisher: {waiting} messages, the server has them all",
                    "stop is set",
                    f"handle(): finished {len(handled)}",
                    "your function returned, and its process ends",
                ],
            )

    def _must_still_run(self, actor: Actor) -> None:
        if actor.heard("returned"):
            self.run.reject(
                "returns_before_stop",
                "your function returned although stop was not set: its process ends, and nobody listens any more",
                expected="it returns after stop is set",
                got="it returned at once" if not actor.heard("handled") else "it returned after some messages",
                evidence=[f"your function: {event['event']}" for event in actor.heard("ready", "handled", "returned")],
            )

    def _subscribed(self, actor: Actor) -> list[str]:
        return [frame.subject for frame in actor.relay.up.passed if frame.verb == "SUB"]

    async def _publish(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self.number += 1
            await self.stage.nc.publish(subject, str(self.number).encode())
        await round_trip(self.stage.nc)
