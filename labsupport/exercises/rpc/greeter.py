"""Check of 02.1: a client calls the learner's Greeter in all four ways, well and badly, slowly and at the same time."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
from grpc import StatusCode

from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import Run
from labsupport.exercises.rpc.calls import (
    PATIENCE_S,
    SILENCE_S,
    Ended,
    channel_to,
    each,
    evidence_of,
    finish,
    host,
    result_of,
)
from labsupport.exercises.rpc.idl import KINDS, PEOPLE, argument, idl

WORDS = {
    "cs": "Ahoj",
    "de": "Hallo",
    "en": "Hello",
    "es": "Hola",
    "fi": "Hei",
    "fr": "Bonjour",
    "it": "Ciao",
    "pl": "Witaj",
    "sv": "Hej",
    "tr": "Merhaba",
}


class Phrases:
    """In the child: the slow dictionary that a Greeter asks; it waits where an experiment wants it to.

    Args:
        words: language -> greeting.
        slow: asking for this language takes until the caller has gone.
        paced: each of these languages but the first waits until the one before has been sent.
    """

    def __init__(self, tell: Any, words: Mapping[str, str], slow: str, paced: Sequence[str]) -> None:
        self.tell, self.words, self.slow, self.paced = tell, words, slow, list(paced)
        self.gone = threading.Event()
        self.asked_after = 0
        self.sent = [threading.Event() for _ in paced]
        self.held = ""

    def __call__(self, language: str) -> str:
        if language == self.slow:
            self.tell("asked for the slow one")
            self.gone.wait(PATIENCE_S)
            time.sleep(0.3)  # for an answer that is told by a callback, as we are
        elif self.gone.is_set():
            self.asked_after += 1
            time.sleep(0.02)
        position = self.paced.index(language) if language in self.paced else 0
        if position and not self.held and not self.sent[position - 1].wait(SILENCE_S):
            self.held = language
        return self.words[language]


def serve_greeter(given: Any, tell: Any, words: dict[str, str], slow: str, paced: list[str]) -> None:
    """In the child: the learner's Greeter, with ears at the places that an experiment asks about."""
    import greeter_pb2_grpc

    phrases = Phrases(tell, words, slow, paced)

    class Watched(given.Greeter):
        def SayHello(self, request: Any, context: Any) -> Any:
            if slow not in request.languages:
                return super().SayHello(request, context)
            context.add_callback(phrases.gone.set)
            try:
                return super().SayHello(request, context)
            finally:
                tell("left", asked_after=phrases.asked_after)

        def SayHelloInEach(self, request: Any, context: Any) -> Iterator[Any]:
            replies = each(super().SayHelloInEach(request, context))
            if list(request.languages) != paced:
                yield from replies
                return
            try:
                for sent, reply in zip(phrases.sent, replies, strict=False):
                    sent.set()
                    yield reply
                yield from replies
            finally:
                tell("sent all", held=phrases.held)

        def SayHelloToAll(self, requests: Any, context: Any) -> Any:
            return super().SayHelloToAll(told(requests), context)

    def told(requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            yield request
            tell("wants the next", name=request.name)

    host(tell, lambda server: greeter_pb2_grpc.add_GreeterServicer_to_server(Watched(phrases), server))


def check_greeter(answer: Answer, run: Run) -> str:
    """A client calls the learner's servicer in all four ways, well and badly, slowly and at the same time."""
    unheard, slow, *languages = run.random.sample(sorted(WORDS), len(WORDS))
    words = {language: WORDS[language] for language in (slow, *languages)}
    settings = {"words": words, "slow": slow, "paced": languages[:3]}
    with answer.start(serve_greeter, path=[idl().directory], **settings) as child:
        port = child.expect("ready", what="your Greeter to be served")["port"]
        with channel_to(port) as channel:
            greetings = Greetings(run, child, idl().stub(channel, "Greeter"), words, slow, languages)
            greetings.are_right()
            greetings.refuse("", languages[4], StatusCode.INVALID_ARGUMENT, "an empty name")
            greetings.refuse(
                run.random.choice(PEOPLE), unheard, StatusCode.NOT_FOUND, f"the unknown language {unheard!r}"
            )
            greetings.keep_calls_apart()
            greetings.come_as_they_are_found()
            greetings.answer_before_the_next_question()
            greetings.end_with_their_caller()
    return "four kinds of call: replies, status codes, order of replies, calls side by side, a cancelled call"


class Greetings:
    """The experiments of 02.1."""

    def __init__(
        self, run: Run, child: Child, stub: Mapping[str, Any], words: dict[str, str], slow: str, languages: list[str]
    ) -> None:
        self.run, self.child, self.stub = run, child, stub
        self.words, self.slow, self.languages = words, slow, languages

    def request(self, name: str, *languages: str) -> Any:
        return idl().HelloRequest(name=name, languages=languages)

    def wanted(self, method: str, requests: Sequence[Any]) -> list[str]:
        """The replies that `method` owes to these requests."""
        lines = [[f"{self.words[language]}, {r.name}!" for language in r.languages] for r in requests]
        flat = [line for each_line in lines for line in each_line]
        each_request = [" ".join(each_line) for each_line in lines]
        return {
            "SayHello": [" ".join(flat)],
            "SayHelloInEach": flat,
            "SayHelloToAll": [" ".join(flat)],
            "Chat": each_request,
        }[method]

    def are_right(self) -> None:
        people = iter(self.run.random.sample(PEOPLE, 8))
        for method in KINDS:
            count = 1 if method.startswith("SayHello") and method != "SayHelloToAll" else 2
            asked = [
                self.request(next(people), *self.run.random.sample(self.languages[3:], number + 1))
                for number in reversed(range(count))
            ]
            ended = finish(self.stub[method], argument(method, asked))
            got, wanted = [reply.message for reply in ended.replies], self.wanted(method, asked)
            if ended.ok and got == wanted:
                continue
            self.run.reject(
                "",
                f"{method} ({KINDS[method]}) did not answer as it should",
                expected=f"OK {wanted}",
                got=f"{ended} {got if got else ''}",
                evidence=[*(f"request: {_short(r)}" for r in asked), *evidence_of(self.child)],
            )

    def refuse(self, name: str, language: str, wanted: StatusCode, what: str) -> None:
        """The same bad request in each kind of call, in a stream between two good ones."""
        history = []
        for method, kind in KINDS.items():
            bad = self.request(name, language)
            good = self.request(self.run.random.choice(PEOPLE), self.languages[3])
            asked = [good, bad, good] if isinstance(argument(method, [bad]), Iterator) else [bad]
            ended = finish(self.stub[method], argument(method, asked))
            messages = ", ".join(repr(reply.message) for reply in ended.replies)
            got = f"{messages}, then {ended}" if messages else str(ended)
            history.append(f"{method} ({kind}) with {what}: {got}")
            before = 1 if method == "Chat" else 0  # replies that may come before the call ends
            if ended.code is wanted and len(ended.replies) <= before:
                continue
            if ended.code is wanted:
                slug, said = "goes_on_after_the_error", f"{method} met {what}, set a code, and went on answering"
            elif ended.code is StatusCode.UNKNOWN:
                slug, said = "bare_exception", f"{method} was left by an exception when it met {what}"
            elif ended.ok:
                slug = "" if name else "empty_name_answered_ok"
                said = f"{method} answered {what} as if nothing were wrong"
            elif name and ended.code is StatusCode.INVALID_ARGUMENT:
                slug, said = "one_code_for_every_error", f"{method} gave {what} the code of an empty name"
            elif not name and ended.code is StatusCode.NOT_FOUND:
                slug, said = "catches_its_own_abort", f"{method} gave {what} the code of an unknown language"
            else:
                slug, said = "", f"{method} ended with the wrong status code at {what}"
            expected = f"{wanted.name}, and nothing more" if ended.code is wanted else wanted.name
            self.run.reject(slug, said, expected=expected, got=got, evidence=[*history, *evidence_of(self.child)])

    def keep_calls_apart(self) -> None:
        """Two client streams at the same time, the second one begun and ended while the first is open."""
        first, second, third, fourth = self.run.random.sample(PEOPLE, 4)
        language = self.languages[3]
        go_on = threading.Event()

        def slowly() -> Iterator[Any]:
            yield self.request(first, language)
            go_on.wait(PATIENCE_S)
            yield self.request(second, language)

        try:
            call = self.stub["SayHelloToAll"].future(slowly(), timeout=PATIENCE_S)
            asked = [self.request(third, language), self.request(fourth, language)]
            while self.child.expect("wants the next", what="SayHelloToAll to take a request")["name"] != first:
                pass
            other = finish(self.stub["SayHelloToAll"], iter(asked))
        finally:
            go_on.set()
        both = {
            "A": (_said(result_of(call)), [self.request(first, language), self.request(second, language)]),
            "B": (_said(other), asked),
        }
        for name, (got, asked) in both.items():
            wanted = self.wanted("SayHelloToAll", asked)[0]
            if got != wanted:
                self.run.reject(
                    "state_shared_between_calls" if got.endswith("!") else "",
                    f"call {name} was not answered with its own names alone",
                    expected=wanted,
                    got=got,
                    evidence=[
                        f"A -> SayHelloToAll: {first}",
                        f"B -> SayHelloToAll: {third}",
                        f"B -> SayHelloToAll: {fourth}, end",
                        f"B <- {both['B'][0]}",
                        f"A -> SayHelloToAll: {second}, end",
                        f"A <- {both['A'][0]}",
                    ],
                )

    def come_as_they_are_found(self) -> None:
        """The dictionary gives the second language only when the first greeting has been sent."""
        asked = [self.request(self.run.random.choice(PEOPLE), *self.languages[:3])]
        ended = finish(self.stub["SayHelloInEach"], asked[0])
        got, wanted = [reply.message for reply in ended.replies], self.wanted("SayHelloInEach", asked)
        held = self.child.expect("sent all", what="SayHelloInEach to end")["held"]
        if held:
            self.run.reject(
                "replies_collected_first",
                f"SayHelloInEach asked for {held!r} while the greeting before it was found and not yet sent",
                expected=f"{wanted[0]!r} is sent before the next language is looked up",
                got="nothing is sent before all are looked up",
                evidence=[
                    f"-> SayHelloInEach: {_short(asked[0])}",
                    f"your method asks for {asked[0].languages[0]!r} and has it",
                    f"your method asks for {held!r}: the dictionary waits {SILENCE_S:g} s for the first reply",
                    *(f"<- {message}" for message in got),
                ],
            )
        if not ended.ok or got != wanted:
            self.run.reject("", "SayHelloInEach did not answer as it should", expected=wanted, got=f"{ended} {got}")

    def answer_before_the_next_question(self) -> None:
        """Say one thing, and the next only when the answer to it is there, as people do."""
        names = self.run.random.sample(PEOPLE, 3)
        go_on = [threading.Event() for _ in names]

        def speak() -> Iterator[Any]:
            for name, gate in zip(names, go_on, strict=True):
                yield self.request(name, self.languages[3])
                gate.wait(PATIENCE_S)

        replies: queue.Queue[str] = queue.Queue()

        def listen() -> None:
            for reply in self.stub["Chat"](speak(), timeout=2 * PATIENCE_S):
                replies.put(reply.message)

        history = []
        try:
            threading.Thread(target=_quietly, args=(listen,), daemon=True).start()
            for name, gate in zip(names, go_on, strict=True):
                history.append(f"-> Chat: {name}")
                try:
                    history.append(f"<- {replies.get(timeout=SILENCE_S)}")
                except queue.Empty:
                    history.append(f"nothing in {SILENCE_S:g} s; we end our side")
                    break
                gate.set()
            else:
                return
            for gate in go_on:
                gate.set()
            try:
                while True:
                    history.append(f"<- {replies.get(timeout=SILENCE_S / 2)}")
            except queue.Empty:
                pass
            late = history[-1].startswith("<-")
            self.run.reject(
                "bidi_reads_everything_first" if late else "",
                "Chat answered nothing until we had ended our side" if late else "Chat answered nothing",
                expected="a reply to each request before we send the next one",
                got=f"silence after {name!r}" + (", then all replies at once" if late else ""),
                evidence=[*history, *evidence_of(self.child)],
            )
        finally:
            for gate in go_on:
                gate.set()

    def end_with_their_caller(self) -> None:
        """Cancel a unary call in the middle of its work, and see how much work is still done for nobody."""
        many = 60
        languages = [self.languages[3], self.slow, *self.run.random.choices(self.languages[3:], k=many)]
        call = self.stub["SayHello"].future(self.request(self.run.random.choice(PEOPLE), *languages))
        self.child.expect("asked for the slow one", what="SayHello to look up the second language")
        call.cancel()
        after = self.child.expect("left", what="SayHello to end after its caller had cancelled")["asked_after"]
        if after > many // 3:
            self.run.reject(
                "ignores_cancellation",
                f"the caller had gone, and SayHello looked up {after} more languages",
                expected="the work ends with the language that was being looked up",
                got=f"{after} more look-ups, for a reply that nobody can receive",
                evidence=[
                    f"-> SayHello in {len(languages)} languages",
                    f"your method looks up {languages[0]!r}, then {self.slow!r}, which takes long",
                    "the client cancels; the server knows it: context.is_active() is False from now on",
                    f"{self.slow!r} is found",
                    f"your method looks up {after} further languages, then ends",
                ],
            )


def _said(ended: Ended) -> str:
    return ended.replies[0].message if ended.replies else str(ended)


def _short(message: Any) -> str:
    return str(message).replace("\n", " ").strip()


def _quietly(work: Callable[[], None]) -> None:
    """Run in a thread of its own what another call's end may interrupt."""
    with contextlib.suppress(grpc.RpcError):
        work()
