"""What a node may do, and what is said when it does something else."""

from __future__ import annotations

import asyncio
import datetime
import random
import socket
import threading
import time
import uuid
from datetime import date
from time import sleep

import pytest

from labsupport import watchdog
from labsupport.errors import LearnerError
from labsupport.faults import Crash, Faults
from labsupport.messages import Error, RequestFailed, message
from labsupport.node import Node
from labsupport.search import explore
from labsupport.sim.failures import RunFailed
from labsupport.sim.world import World


@message
class Ask:
    number: int


@message
class Answer:
    number: int


@message
class Unheard:
    pass


class Quiet(Node):
    def on_ask(self, message, sender, ctx):
        ctx.reply(message, Answer(message.number * 2))


def run(kind, **options):
    world = World({"n1": kind, "n2": Quiet}, seed=1, **options)
    world.run(5)
    return world


def test_a_request_is_answered_and_a_late_answer_is_dropped():
    class Asker(Node):
        async def on_start(self, ctx):
            self.seen = []
            reply = await ctx.rpc("n2", Ask(4), timeout_s=1)
            self.seen.append(reply.number)
            try:
                await ctx.rpc("n2", Ask(5), timeout_s=0)
            except TimeoutError as error:
                self.seen.append(str(error))
            before = ctx.now()
            await ctx.sleep(0.5)
            self.seen.append(round(ctx.now() - before, 6))

    assert run(Asker)["n1"].seen == [8, "n2 did not answer ask within 0 s", 0.5]


def test_an_error_for_an_answer_is_raised_where_it_is_awaited():
    class Refuses(Node):
        def on_ask(self, message, sender, ctx):
            ctx.reply(message, Error(22, "not the expected value"))

    class Asker(Node):
        async def on_start(self, ctx):
            try:
                await ctx.rpc("n2", Ask(4))
            except RequestFailed as error:
                self.seen = (error.code, error.definite, str(error))

    world = World({"n1": Asker, "n2": Refuses})
    world.run(5)
    assert world["n1"].seen == (22, True, "precondition-failed (code 22): not the expected value")


def test_a_spawned_coroutine_begins_when_the_handler_stops():
    class Spawner(Node):
        def on_start(self, ctx):
            self.order = []
            ctx.spawn(self.later())
            self.order.append("handler")

        async def later(self):
            self.order.append("spawned")

    assert run(Spawner)["n1"].order == ["handler", "spawned"]


def test_a_timer_is_set_anew_and_cancelled():
    class Timed(Node):
        def on_start(self, ctx):
            self.gone_off = []
            for name, seconds in (("a", 1), ("a", 2), ("b", 1)):
                ctx.set_timer(name, seconds)
            ctx.cancel_timer("b")
            ctx.cancel_timer("never set, and that is fine")

        def on_timer(self, name, ctx):
            self.gone_off.append((name, ctx.now()))

    assert run(Timed)["n1"].gone_off == [("a", 2.0)]


def test_what_was_not_saved_is_gone_after_a_crash():
    class Forgetful(Node):
        def on_start(self, ctx):
            self.saved, self.kept = ctx.load("count", 0), 0
            self.tick(ctx)

        def on_timer(self, name, ctx):
            self.kept += 1
            ctx.save(count=self.saved + self.kept)
            self.tick(ctx)

        def tick(self, ctx):
            ctx.set_timer("tick", 1)

    world = run(Forgetful, faults=Faults(plan=[Crash("n1", 2.5, restart_after_s=1)]))
    assert (world["n1"].saved, world["n1"].kept) == (2, 1)
    assert [event.kind for event in world.trace if event.kind in ("crash", "restart")] == ["crash", "restart"]


def test_a_suspended_handler_does_not_survive_a_crash_not_even_its_finally():
    class Clings(Node):
        async def on_start(self, ctx):
            if ctx.load("lives", 0) == 0:
                ctx.save(lives=1)
                try:
                    await ctx.sleep(100)
                finally:
                    ctx.save(lives=2)

    world = run(Clings, faults=Faults(plan=[Crash("n1", 1, restart_after_s=1)]))
    assert world.hosts["n1"].disk == {"lives": 1}


def test_what_is_saved_and_loaded_is_a_copy():
    class Saver(Node):
        def on_start(self, ctx):
            log = [{"term": 1}]
            ctx.save(log=log)
            log[0]["term"] = 2
            log.append({"term": 3})
            ctx.save(log=log)
            log[0]["term"] = 4
            ctx.load("log")[0]["term"] = 5
            self.log = ctx.load("log")

    assert run(Saver)["n1"].log == [{"term": 2}, {"term": 3}]


def test_clocks_can_be_wrong():
    from labsupport.faults import Skew

    class Clock(Node):
        def on_start(self, ctx):
            ctx.set_timer("t", 1)

        def on_timer(self, name, ctx):
            self.seen = ctx.now()

    world = run(Clock, faults=Faults(plan=[Skew("n1", offset_s=100, rate=2)]))
    assert world["n1"].seen == 101.0
    assert [event.at_s for event in world.trace if event.kind == "timer"] == [0.5]


# ------------------------------------------------------------------------------------------------ what is said


def starts(act):
    class Wrong(Node):
        def on_start(self, ctx):
            return act(self, ctx)

        def on_timer(self, name, ctx):
            pass

    return Wrong


def starts_async(act):
    class Wrong(Node):
        async def on_start(self, ctx):
            await act(ctx)

    return Wrong


class Slips(Node):
    def on_start(self, ctx):
        ctx.set_timer("heartbeat", 1)
        ctx.cancel_timer("hartbeat")

    def on_timer(self, name, ctx):
        pass


class NoTimer(Node):
    def on_start(self, ctx):
        ctx.set_timer("tick", 1)


@pytest.mark.parametrize(
    "kind, said",
    [
        (
            starts(lambda self, ctx: ctx.send("n2", Unheard())),
            r"n2 received Unheard\(\) from n1, and Quiet has no handler",
        ),
        (starts(lambda self, ctx: ctx.send("n9", Ask(1))), "there is no node of that name"),
        (starts(lambda self, ctx: ctx.send("n2", "hello")), "'hello' of type str is not a message"),
        (starts(lambda self, ctx: ctx.send("n2", Ask)), "Ask is a message class"),
        (starts(lambda self, ctx: ctx.send("n2", Ask({1}))), "declared as int"),
        (starts(lambda self, ctx: ctx.save(x={1})), "cannot be written as JSON"),
        (starts(lambda self, ctx: ctx.reply(Ask(1), Answer(1))), "nobody sent it to this node"),
        (starts(lambda self, ctx: ctx.reply("n2", Answer(1))), "as the message to answer"),
        (starts(lambda self, ctx: Answer(1)), "nobody receives what a handler returns"),
        (starts(lambda self, ctx: ctx.set_timer("t", -1)), "zero or more"),
        (starts(lambda self, ctx: ctx.set_timer("t", None)), "zero or more"),
        (Slips, "a slip of the pen: there is a timer 'heartbeat'"),
        (starts(lambda self, ctx: ctx.spawn(len)), "ctx.spawn"),
        (starts(lambda self, ctx: time.sleep(1)), "called time.sleep"),
        (starts(lambda self, ctx: sleep(1)), "called time.sleep"),
        (starts(lambda self, ctx: time.time()), "use ctx.now"),
        (starts(lambda self, ctx: random.random()), "use ctx.random"),
        (starts(lambda self, ctx: open("x")), "builtins.open"),  # noqa: SIM115
        (starts(lambda self, ctx: random.Random()), r"random\.Random.*ctx\.random"),
        (starts(lambda self, ctx: random.SystemRandom(1)), "use ctx.random"),
        (starts(lambda self, ctx: datetime.datetime.now()), r"datetime\.now.*ctx\.now"),
        (starts(lambda self, ctx: date.today()), r"date\.today.*ctx\.now"),
        (starts(lambda self, ctx: time.monotonic()), "use ctx.now"),
        (starts(lambda self, ctx: uuid.uuid4()), "ctx.me and a counter"),
        (starts(lambda self, ctx: socket.socket()), r"socket\.socket.*ctx\.send"),
        (starts(lambda self, ctx: threading.Thread(target=print)), "ctx.spawn"),
        (starts_async(lambda ctx: asyncio.sleep(1)), "await ctx.sleep"),
        (starts_async(lambda ctx: asyncio.Event().wait()), "asyncio|event loop"),
        (NoTimer, "NoTimer has no on_timer"),
    ],
)
def test_a_mistake_is_explained(kind, said):
    with pytest.raises(LearnerError, match=f"(?s){said}") as caught:
        run(kind)
    assert caught.value.do
    assert "The last events:" in str(caught.value)


def test_the_real_functions_are_back_after_a_run():
    before = (time.sleep, random.random, sleep, datetime.datetime, date)
    run(Quiet)
    assert (time.sleep, random.random, sleep, datetime.datetime, date) == before


def test_a_class_with_a_forbidden_call_can_be_used_otherwise():
    class Uses(Node):
        def on_start(self, ctx):
            self.day = date(2026, 1, 2)
            self.seen = (random.Random(7).random(), isinstance(self.day, date), isinstance(ctx.random, random.Random))

    assert run(Uses)["n1"].seen == (random.Random(7).random(), True, True)


class Loops(Node):
    async def on_start(self, ctx):
        await ctx.sleep(1)
        self.answer = None
        while self.answer is None:
            try:
                ctx.now()
            except Exception:
                break


def test_a_handler_that_does_not_return_is_ended(monkeypatch):
    monkeypatch.setattr(watchdog, "MOST_S", 0.2)
    monkeypatch.setattr(watchdog, "PERIOD_S", 0.05)
    with pytest.raises(LearnerError, match=r"did not return.*on_start, line \d+") as caught:
        run(Loops)
    assert "ctx.rpc(...)" in str(caught.value) and "has slept enough" in str(caught.value)
    with pytest.raises(LearnerError, match="did not return"):
        explore(Loops, states=100, schedules=0)
    with pytest.raises(LearnerError, match="did not return"):
        explore(Loops, states=0, schedules=40, cores=2)


def test_a_long_run_of_short_handlers_is_not_ended(monkeypatch):
    class Busy(Node):
        def on_start(self, ctx):
            self.until = time_of_work() + 0.3
            ctx.set_timer("again", 0.001)

        def on_timer(self, name, ctx):
            ctx.set_timer("again", 0.001)
            if time_of_work() > self.until:
                ctx.cancel_timer("again")

    time_of_work = time.process_time  # not one of those that are watched: this test needs the real one
    monkeypatch.setattr(watchdog, "MOST_S", 0.05)
    monkeypatch.setattr(watchdog, "PERIOD_S", 0.01)
    World(Busy, nodes=1).run()


def test_an_exception_ends_the_run_and_shows_the_line_and_the_last_events():
    class Broken(Node):
        def on_start(self, ctx):
            ctx.send("n2", Ask(1))

        def on_answer(self, message, sender, ctx):
            {}["missing"]

    class Sends(Node):
        def on_ask(self, message, sender, ctx):
            ctx.send(sender, Answer(1))

    world = World({"n1": Broken, "n2": Sends})
    with pytest.raises(RunFailed, match="n1 raised KeyError") as caught:
        world.run(5)
    assert '{}["missing"]' in str(caught.value)
    assert "receives answer(number=1) from n2" in str(caught.value)


def test_a_handler_with_wrong_arguments_is_refused_when_the_class_is_made():
    with pytest.raises(LearnerError, match=r"on_ask\(self, message, sender, ctx\)"):

        class Wrong(Node):
            def on_ask(self, message):
                pass


def test_a_handler_of_no_message_is_refused_with_the_name_that_was_meant():
    class Wrong(Node):
        def on_anser(self, message, sender, ctx):
            pass

    with pytest.raises(LearnerError, match="slip of the pen for 'answer'"):
        World(Wrong)
