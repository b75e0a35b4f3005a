"""The nodes of these tests: our own, as a learner writes them."""

from __future__ import annotations

from labsupport.messages import Error, RequestFailed, message
from labsupport.node import Node


@message
class Echo:
    echo: str


@message
class EchoOk:
    echo: str


@message
class Ask:
    number: int
    to: str = ""


@message
class Answer:
    number: int


@message
class Count:
    pass


@message
class Counted:
    got: list
    lives: int = 0


@message
class Tick:
    number: int


@message
class Fail:
    pass


@message
class Begin:
    what: str = ""
    seconds: float = 0.0


@message
class Done:
    what: str
    seconds: float = 0.0


@message
class Read:
    key: str


@message
class ReadOk:
    value: int


@message
class Write:
    key: str
    value: int


@message
class WriteOk:
    pass


class Everything(Node):
    """Does a little of everything that a node may do."""

    def on_start(self, ctx):
        self.got, self.number = [], 0
        self.lives = ctx.load("lives", 0) + 1
        ctx.save(lives=self.lives, names=[ctx.me, *ctx.peers])
        ctx.note("alive", life=self.lives)

    def on_echo(self, message, sender, ctx):
        print("this goes to the log")
        ctx.reply(message, EchoOk(message.echo))

    async def on_ask(self, message, sender, ctx):
        """Pass a question on, and answer with what comes back."""
        if not message.to:
            ctx.reply(message, Answer(message.number * 2))
            return
        try:
            answer = await ctx.rpc(message.to, Ask(message.number), 0.3)
            ctx.reply(message, answer)
        except TimeoutError as error:
            ctx.reply(message, Error(0, str(error)))
        except RequestFailed as error:
            ctx.reply(message, Error(error.code, error.text))

    def on_tick(self, message, sender, ctx):
        self.got.append(message.number)

    def on_count(self, message, sender, ctx):
        ctx.reply(message, Counted(self.got, self.lives))

    def on_fail(self, message, sender, ctx):
        print("about to fail")
        raise ZeroDivisionError("on purpose")

    async def on_begin(self, message, sender, ctx):
        if message.what == "sleep":
            before = ctx.now()
            await ctx.sleep(message.seconds)
            ctx.reply(message, Done("slept", ctx.now() - before))
        elif message.what == "ticks":
            for number in range(100):
                ctx.send("n2", Tick(number))
            ctx.reply(message, Done("sent"))
        elif message.what == "spawn":
            ctx.spawn(self.later(message, ctx))
        elif message.what == "timer":
            self.asked = message
            ctx.set_timer("slow", 30.0)
            ctx.set_timer("fast", 30.0)
            ctx.set_timer("fast", message.seconds)
            ctx.cancel_timer("slow")
        elif message.what == "nowhere":
            ctx.send("n99", Tick(1))

    async def later(self, message, ctx):
        await ctx.sleep(0.01)
        ctx.reply(message, Done("spawned"))

    def on_timer(self, name, ctx):
        ctx.reply(self.asked, Done(name))


class AsksTheStore(Node):
    """A register that is kept by the service lin-kv."""

    async def on_read(self, message, sender, ctx):
        try:
            ctx.reply(message, await ctx.rpc("lin-kv", Read(message.key)))
        except RequestFailed as error:
            ctx.reply(message, Error(error.code, error.text))

    async def on_write(self, message, sender, ctx):
        ctx.reply(message, await ctx.rpc("lin-kv", Write(message.key, message.value)))


class PingPong(Node):
    """Five messages to and fro, the same in every world."""

    def on_start(self, ctx):
        if ctx.me == "n1":
            ctx.set_timer("begin", 0.01)

    def on_timer(self, name, ctx):
        ctx.note("serve", number=0)
        ctx.send("n2", Tick(0))

    def on_tick(self, message, sender, ctx):
        ctx.save(number=message.number)
        if message.number < 4:
            ctx.send(sender, Tick(message.number + 1))


class FailsAtStart(Node):
    def on_start(self, ctx):
        raise KeyError("no such thing")
