"""Exercise 04.2: workers that share requests in a queue group, and a client that knows what it knows.

Queue groups and request/reply: https://docs.nats.io/nats-concepts/core-nats. A request on a subject that nobody has
subscribed to is answered by the server itself, with the status 503 ("no responders").
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NoReturn

import nats

from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import Run
from labsupport.exercises.host import learner_frames
from labsupport.exercises.pubsub.stage import Actor, Stage, decoded, pass_over, reins, round_trip

SOON_S = 0.3  # a timeout given to ask(): the only short one, and it is the answer's own
LATE_S = 120.0  # a timeout given to ask() that must not run out during a check
REQUESTS = 20
LONG_S = 10.0  # far longer than a right answer needs, however busy the machine


async def drive_worker(
    given: Any, tell: Callable[..., None], url: str, direct: str, control: str, subject: str
) -> None:
    """In the child: serve, and tell each job that is computed."""

    def compute(numbers: list[Any]) -> int:
        tell("computed", numbers=numbers)
        if not numbers:
            raise ValueError("no numbers to add")
        return sum(numbers)

    async def complain(error: Exception) -> None:
        if isinstance(error, NotImplementedError):
            tell.failed(error)
        tell("uncaught", kind=type(error).__name__, message=str(error))

    nc = await nats.connect(url, error_cb=complain)
    async with reins(tell, direct, control, flush=lambda: round_trip(nc)):
        await given.serve(nc, subject, compute)
        await round_trip(nc)
        tell("serving")
        await asyncio.Event().wait()


async def drive_asker(given: Any, tell: Callable[..., None], url: str, direct: str, control: str, subject: str) -> None:
    """In the child: ask when told to, several questions at a time."""
    asking: list[asyncio.Task] = []

    async def ask(name: str, numbers: list[int], timeout_s: float) -> None:
        try:
            tell("outcome", name=name, value=await given.ask(nc, subject, numbers, timeout_s))
        except Exception as error:
            if isinstance(error, NotImplementedError):
                tell.failed(error)
            frames = [f"line {line}, in {function}" for _, line, function, _ in learner_frames(error)]
            tell("raised", name=name, kind=type(error).__name__, message=str(error), frames=frames)

    nc = await nats.connect(url, error_cb=pass_over)
    async with reins(tell, direct, control, ask=lambda **job: asking.append(asyncio.create_task(ask(**job)))):
        await asyncio.Event().wait()


async def check_workers(answer: Answer, run: Run) -> str:
    """First the check is the worker and the learner asks; then the learner's workers serve and the check asks."""
    async with Stage(answer, run) as stage:
        subject = f"jobs.sum{run.random.randrange(100, 999)}"
        asker = await stage.child(drive_asker, subject=subject)
        await stage.until(lambda: asker.heard("connected"), "the process of ask() to connect")
        await AskJudge(stage, run, subject, asker).judge()
        await asker.kill()
        subject = f"jobs.add{run.random.randrange(100, 999)}"
        await ServeJudge(stage, run, subject).judge()
    return f"{REQUESTS} requests, each computed once by one of two workers; errors, silence and absence told apart"


class AskJudge:
    """The experiments on ask(): nobody there, a silent worker, a late one, one that reports an error."""

    def __init__(self, stage: Stage, run: Run, subject: str, asker: Actor) -> None:
        self.stage, self.run, self.subject, self.asker = stage, run, subject, asker
        self.requests: dict[str, Any] = {}  # name of a question -> the request that reached us
        self.log: list[str] = []

    async def judge(self) -> None:
        await self.nobody()
        await self.stage.nc.subscribe(self.subject, cb=self._take)
        await round_trip(self.stage.nc)
        await self.silent_and_late()
        await self.error()

    async def nobody(self) -> None:
        self.log = ["no worker has subscribed"]
        got = await self._outcome(await self._ask("nobody", LATE_S))
        if got[0] == "unknown":
            self._reject(
                "nobody_taken_for_unknown",
                "the server said at once that nobody serves this subject, and ask() says that it does not know",
                '("nobody", ...): the job surely was not done',
                got,
            )
        self._expect(got, "nobody", None)

    async def silent_and_late(self) -> None:
        """Two questions at once: the second may wait a moment only, the first far longer."""
        self.log = ["a worker has subscribed, and is slow"]
        patient, hasty = await self._ask("patient", LATE_S), await self._ask("hasty", SOON_S)
        got = await self.stage.happens(lambda: self._found(hasty), "the second question to end", LONG_S)
        if not got:
            self._reject(
                "no_timeout",
                f"the worker took the job and never answered; ask() was given {SOON_S} s and waits for {LONG_S:g} s",
                '("unknown", ...) when the time is up',
                "ask() never returned",
            )
        got = self._value(got)
        if got[0] in ("failed", "nobody"):
            self._reject(
                "timeout_means_failed",
                "no answer came in time, and ask() says that the job was not done; the worker had taken it",
                '("unknown", ...): it may have been done, or may be done later',
                got,
            )
        self._expect(got, "unknown", None)
        if early := self._found(patient):
            self._reject(
                "ignores_the_timeout",
                f"a question with a timeout of {LATE_S:g} s ended as early as one of {SOON_S} s",
                "each question waits as long as it was told to",
                self._value(early),
            )
        await self._answer(patient, {"sum": sum(patient["numbers"])})
        self._expect(await self._outcome(patient), "done", sum(patient["numbers"]))

    async def error(self) -> None:
        self.log = []
        question = await self._ask("refused", LATE_S)
        text = f"machine {self.run.random.randrange(100)} is out of paper"
        await self._answer(question, {"error": text})
        got = await self._outcome(question)
        if got[0] == "done":
            self._reject(
                "error_taken_for_result",
                "the worker reported an error, and ask() returned it as a result",
                f'("failed", "{text}")',
                got,
            )
        self._expect(got, "failed", text)

    # ---------------------------------------------------------------- asking and answering

    async def _ask(self, name: str, timeout_s: float) -> dict[str, Any]:
        numbers = [self.run.random.randrange(1000) for _ in range(3)]
        self.log.append(f"ask({numbers}, timeout_s={timeout_s:g})")
        await self.asker.command("ask", name=name, numbers=numbers, timeout_s=timeout_s)
        return {"name": name, "numbers": numbers}

    async def _take(self, request: Any) -> None:
        numbers = (decoded(request.data) or {}).get("numbers")
        self.log.append(f"a request for the sum of {numbers} reaches the worker")
        self.requests[str(numbers)] = request

    async def _answer(self, question: dict[str, Any], reply: dict[str, Any]) -> None:
        numbers = str(question["numbers"])
        await self.stage.until(lambda: numbers in self.requests, 'a request {"numbers": [...]} on the subject')
        request = self.requests[numbers]
        if not request.reply:
            self._reject("", "the request says nowhere where its answer belongs", "a reply subject", "none")
        self.log.append(f"the worker answers {json.dumps(reply)}")
        await self.stage.publish(request.reply, reply)

    def _found(self, question: dict[str, Any]) -> dict[str, Any] | None:
        events = self.asker.heard("outcome", "raised")
        return next((event for event in events if event["name"] == question["name"]), None)

    async def _outcome(self, question: dict[str, Any]) -> list[Any]:
        return self._value(await self.stage.until(lambda: self._found(question), "ask() to return"))

    def _value(self, event: dict[str, Any]) -> list[Any]:
        if event["event"] == "raised":
            self.log += event["frames"]
            self._reject(
                "",
                f"ask() raised {event['kind']} instead of returning what is known about the job",
                "one of the four outcomes",
                f"{event['kind']}: {event['message']}",
            )
        value = event["value"]
        return value if isinstance(value, list) and len(value) == 2 else [value, None]

    def _expect(self, got: list[Any], outcome: str, value: Any) -> None:
        if got[0] != outcome or (value is not None and got[1] != value):
            wanted = f"({json.dumps(outcome)}, {json.dumps(value) if value is not None else '...'})"
            self._reject("", "ask() did not return what happened", wanted, got)

    def _reject(self, name: str, what: str, expected: str, got: object) -> NoReturn:
        shown = f"({json.dumps(got[0])}, {json.dumps(got[1])})" if isinstance(got, list) else got
        self.run.reject(name, what, expected=expected, got=shown, evidence=[*self.log, f"ask(): {shown}"])


class ServeJudge:
    """The experiments on serve(): where answers go, what becomes of errors, and who of two workers does a job."""

    def __init__(self, stage: Stage, run: Run, subject: str) -> None:
        self.stage, self.run, self.subject = stage, run, subject
        self.own: list[bytes] = []  # what we have sent
        self.replies: dict[str, list[Any]] = {}  # our inboxes, with what came
        self.strays: list[tuple[str, str]] = []

    async def judge(self) -> None:
        first = await self._worker()
        await self.stage.nc.subscribe(">", cb=self._hear)
        await round_trip(self.stage.nc)
        await self.one_answer()
        await self.errors(first)
        await self.shares([first, await self._worker()])

    async def _worker(self) -> Actor:
        actor = await self.stage.child(drive_worker, subject=self.subject)
        if not await self.stage.happens(lambda: actor.heard("serving"), "serve() to return", LONG_S):
            self.run.reject(
                "",
                f"serve() was called and has not returned after {LONG_S:g} s",
                expected="the subscription at once; from then on the client calls your callback",
                got="serve() does not return",
                evidence=["serve() is called", "serve() does not return"],
            )
        return actor

    async def one_answer(self) -> None:
        numbers = self._numbers()
        inbox = await self._request(json.dumps({"numbers": numbers}).encode())
        await self.stage.until(lambda: self.replies[inbox] or self.strays, "an answer to a request")
        history = [f"request {numbers} on {self.subject}, answers belong to {inbox}"]
        if not self.replies[inbox]:
            where, text = self.strays[0]
            self.run.reject(
                "reply_to_wrong_subject",
                f"the answer went to {where}, and the client that asked listens on {inbox}",
                expected=f"an answer on {inbox}",
                got=f"{text} on {where}",
                evidence=[*history, f"answer {text} on {where}"],
            )
        wanted, got = {"sum": sum(numbers)}, self.replies[inbox][0]
        if got != wanted:
            self.run.reject(
                "", "the answer is not the sum", expected=json.dumps(wanted), got=json.dumps(got), evidence=history
            )

    async def errors(self, worker: Actor) -> None:
        """Two jobs that cannot be done, then one that can: it handles them in turn, so the last answer tells of all."""
        bad = {"numbers that compute refuses": b'{"numbers": []}', "bytes that are no JSON": b"\xff{"}
        asked = {name: await self._request(data) for name, data in bad.items()}
        good = self._numbers()
        inbox = await self._request(json.dumps({"numbers": good}).encode())
        await worker.command("flush")  # it has got all three
        rests = worker.rests()
        await self.stage.happens(lambda: self.replies[inbox] or rests(), "the next answer", LONG_S)
        await worker.command("flush")
        await round_trip(self.stage.nc)
        history = [f"request with {name}: {self._shown(asked[name])}" for name in bad]
        history += [f"{event['kind']}: {event['message']}" for event in worker.heard("uncaught")]
        history.append(f"request {good}: {self._shown(inbox)}")
        if not self.replies[inbox]:
            self.run.reject(
                "error_kills_the_worker",
                "after a job that failed, your worker answers nobody any more",
                expected="an error as the answer, and the next job",
                got="silence",
                evidence=history,
            )
        for name, where in asked.items():
            reply = self.replies[where][0] if self.replies[where] else None
            if not isinstance(reply, dict) or not reply.get("error"):
                self.run.reject(
                    "error_swallowed",
                    f"a request with {name} got {self._shown(where)}",
                    expected='{"error": "what went wrong"}',
                    got=self._shown(where),
                    evidence=history,
                )

    async def shares(self, workers: list[Actor]) -> None:
        """Two workers on the subject: each job is for one of them."""
        jobs = [self._numbers() for _ in range(REQUESTS)]
        inboxes = [await self._request(json.dumps({"numbers": job}).encode()) for job in jobs]
        await self.stage.until(lambda: all(self.replies[inbox] for inbox in inboxes), "an answer to each request")
        for worker in workers:
            await worker.command("flush")
        await round_trip(self.stage.nc)
        who = [[i for i, worker in enumerate(workers, 1) if self._computed(worker, job)] for job in jobs]
        twice = [i for i, by in enumerate(who) if len(by) > 1 or len(self.replies[inboxes[i]]) > 1]
        if twice:
            names = [" and by ".join(f"worker {i}" for i in by) for by in who]
            self.run.reject(
                "plain_subscription",
                f"{len(twice)} of {REQUESTS} jobs were done by both workers",
                expected="each request is given to one of them",
                got=f"{len(twice)} requests were given to both",
                evidence=[
                    f"request {jobs[i]}: computed by {names[i]}, answered {len(self.replies[inboxes[i]])} times"
                    for i in twice[:4]
                ],
            )

    def _computed(self, worker: Actor, job: list[int]) -> bool:
        return any(event["numbers"] == job for event in worker.heard("computed"))

    def _numbers(self) -> list[int]:
        return [self.run.random.randrange(10**6) for _ in range(3)]

    def _shown(self, inbox: str) -> str:
        return json.dumps(self.replies[inbox][0]) if self.replies[inbox] else "no answer"

    async def _request(self, data: bytes) -> str:
        inbox = f"answers.{len(self.replies)}"
        self.replies[inbox] = []
        self.own.append(data)
        await self.stage.nc.publish(self.subject, data, reply=inbox)
        await round_trip(self.stage.nc)
        return inbox

    async def _hear(self, message: Any) -> None:
        """Everything on the server, except what is the check's own."""
        if message.subject in self.replies:
            self.replies[message.subject].append(decoded(message.data))
        elif message.subject == self.subject and message.data in self.own:
            self.own.remove(message.data)
        elif not message.subject.startswith(("check.", "$", "_INBOX.")):
            self.strays.append((message.subject, message.data.decode(errors="replace")))
