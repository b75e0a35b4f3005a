"""Check of 02.2: strangers, thieves and friends call a Greeter of ours behind the learner's interceptor."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
from grpc import StatusCode

from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import Run
from labsupport.exercises.rpc.calls import (
    PATIENCE_S,
    SILENCE_S,
    Accident,
    Ended,
    channel_to,
    evidence_of,
    finish,
    host,
)
from labsupport.exercises.rpc.idl import KINDS, PEOPLE, argument, idl


def serve_guarded(given: Any, tell: Any, token: str) -> None:
    """In the child: a Greeter of ours behind the learner's Guard; the name in a request says what the method does."""
    import greeter_pb2
    import greeter_pb2_grpc

    logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s")

    def record(method: str, code: Any) -> None:
        tell("record", method=method, code=getattr(code, "name", str(code)))

    def reply(request: Any, context: Any) -> Any:
        tell("ran", name=request.name)
        if request.name in StatusCode.__members__:
            context.abort(StatusCode[request.name], "as you asked")
        if request.name == "exception":
            raise Accident("as you asked")
        return greeter_pb2.HelloReply(message=f"Hello, {request.name}!")

    class Greeter(greeter_pb2_grpc.GreeterServicer):
        def SayHello(self, request: Any, context: Any) -> Any:
            return reply(request, context)

        def SayHelloInEach(self, request: Any, context: Any) -> Iterator[Any]:
            yield greeter_pb2.HelloReply(message="first")
            yield reply(request, context)

        def SayHelloToAll(self, requests: Any, context: Any) -> Any:
            return [reply(request, context) for request in requests][-1]

        def Chat(self, requests: Any, context: Any) -> Iterator[Any]:
            for request in requests:
                yield reply(request, context)

    guard = given.Guard(token, lambda line: tell("log", line=str(line)), record)
    host(tell, lambda server: greeter_pb2_grpc.add_GreeterServicer_to_server(Greeter(), server), guard)


def check_guard(answer: Answer, run: Run) -> str:
    """Strangers, thieves and friends call in all four ways; the metrics and the log are compared with what they saw."""
    token = "".join(run.random.choices("abcdefghjkmnpqrstuvwxyz23456789", k=20))
    with answer.start(serve_guarded, path=[idl().directory], token=token) as child:
        port = child.expect("ready", what="your Guard to be put before a server")["port"]
        with channel_to(port) as channel:
            gate = Gate(run, child, channel, token)
            gate.lets_friends_in()
            gate.keeps_strangers_out()
            gate.keeps_thieves_out()
            gate.lets_calls_overlap()
            gate.counts_every_call()
            gate.leaves_unknown_methods_alone()
            gate.keeps_the_secret()
    return f"{len(gate.history)} calls of four kinds: who may call, what the caller sees, what is recorded and logged"


class Gate:
    """The experiments of 02.2."""

    def __init__(self, run: Run, child: Child, channel: grpc.Channel, token: str) -> None:
        self.run, self.child, self.channel, self.token = run, child, channel, token
        self.stub = idl().stub(channel, "Greeter")
        self.history: list[str] = []
        self.overlap: list[str] = []  # the part of it where two calls overlapped
        self.logged: list[str] = []
        self.due: list[tuple[str, StatusCode]] = []  # what has to be recorded: method and status

    def call(self, method: str, name: str, authorization: str | None) -> Ended:
        request = idl().HelloRequest(name=name)
        metadata = [] if authorization is None else [("authorization", authorization)]
        ended = finish(self.stub[method], argument(method, [request]), metadata=metadata)
        shown = (authorization or "nothing").replace(self.token, "TOKEN")
        self.history.append(f"{method} ({KINDS[method]}), name {name!r}, authorization: {shown} -> {ended.code.name}")
        self.due.append((method, ended.code))
        return ended

    def reject(self, slug: str, said: str, **fields: Any) -> None:
        self.run.reject(slug, said, evidence=[*self.history[-4:], *evidence_of(self.child)], **fields)

    def lets_friends_in(self) -> None:
        for method, kind in KINDS.items():
            ended = self.call(method, self.run.random.choice(PEOPLE), f"Bearer {self.token}")
            if ended.ok and ended.replies:
                continue
            covered = "SayHello (unary)" in " ".join(self.history[:-1])
            slug = "only_unary_covered" if covered and ended.code is StatusCode.UNKNOWN else ""
            said = f"a caller with the right token got no answer from {method}, a {kind} method"
            self.reject(slug, said, expected="OK and the method's replies", got=ended)

    def keeps_strangers_out(self) -> None:
        for method, kind in KINDS.items():
            ended = self.call(method, "Mallory", None)
            self._refused(ended, method, "without a token", "only_unary_covered" if kind != "unary" else "")

    def keeps_thieves_out(self) -> None:
        cut = self.run.random.randrange(5, 15)
        for wrong in (
            "Bearer let-me-in",
            "Bearer ",
            f"Bearer {self.token[:cut]}",
            f"Bearer {self.token}x",
            "Basic eDp5",
        ):
            method = self.run.random.choice(sorted(KINDS))
            ended = self.call(method, "Mallory", wrong)
            self._refused(ended, method, "with a token that is not the right one", "any_token_will_do")

    def _refused(self, ended: Ended, method: str, how: str, slug_if_let_in: str) -> None:
        wanted = {"expected": "UNAUTHENTICATED", "got": ended}
        if ended.ok:
            self.reject(slug_if_let_in, f"{method} answered a caller who came {how}", **wanted)
        if self.token in ended.details:
            shown = ended.details.replace(self.token, "«the token»")
            self.reject(
                "secret_in_the_refusal",
                "the refusal tells the caller the token",
                expected="a text without it",
                got=shown,
            )
        slugs = {
            StatusCode.UNKNOWN: ("raises_instead_of_aborting", "the caller sees an accident, not a refusal"),
            StatusCode.UNIMPLEMENTED: ("refused_as_missing", "the caller is told that there is no such method"),
            StatusCode.PERMISSION_DENIED: (
                "permission_denied_for_strangers",
                "the caller is told that it is known, and not allowed",
            ),
        }
        if ended.code is not StatusCode.UNAUTHENTICATED:
            slug, said = slugs.get(ended.code, ("", "the refusal has the wrong status code"))
            self.reject(slug, f"{method} was called {how}: {said}", **wanted)

    def lets_calls_overlap(self) -> None:
        """A chat, and another call that comes and ends in its middle."""
        go_on = threading.Event()

        def slowly() -> Iterator[Any]:
            yield idl().HelloRequest(name=self.run.random.choice(PEOPLE))
            go_on.wait(PATIENCE_S)

        def meanwhile(chat: Iterator[Any], **_: Any) -> Any:
            next(chat)
            self.call("SayHello", self.run.random.choice(PEOPLE), f"Bearer {self.token}")
            go_on.set()
            return chat

        self.history.append("Chat (bidirectional): a first request, and no end of them until its reply is there")
        metadata = [("authorization", f"Bearer {self.token}")]
        chat = self.stub["Chat"](slowly(), timeout=2 * SILENCE_S, metadata=metadata)
        try:
            ended = finish(meanwhile, chat)
        finally:
            go_on.set()
        self.history.append(f"Chat (bidirectional) ends -> {ended.code.name}")
        if ended.code is StatusCode.DEADLINE_EXCEEDED:
            said = "Chat sent no reply while its caller had more to say"
            self.reject("stream_collected_first", said, expected="each reply as the method yields it", got=ended)
        self.due.append(("Chat", ended.code))
        self.overlap = self.history[-3:]

    def counts_every_call(self) -> None:
        """Calls that fail early, late and by accident; then compare all that is recorded with all that callers saw."""
        code = self.run.random.choice(["NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE"])
        for method in self.run.random.sample(sorted(KINDS), len(KINDS)):
            self.call(method, code, f"Bearer {self.token}")
        self.call("SayHello", "exception", f"Bearer {self.token}")
        records = self._told()
        missing = []
        for due in self.due:
            if due in records:
                records.remove(due)
            else:
                missing.append(due)
        if missing:
            self._not_recorded(missing, records)
        if records:
            said = "a call was recorded more than once, or under a status that no caller saw"
            self.run.reject(
                "", said, expected="one record for each call", got=", ".join(f"{m} {c.name}" for m, c in records)
            )
        for method, code in self.due:
            if not any(method in line and code.name in line for line in self.logged):
                self.run.reject(
                    "",
                    f"no log line says that a call of {method} ended with {code.name}",
                    expected="a line for each call, with its method and status",
                    got="\n".join(line.replace(self.token, "«the token»") for line in self.logged[-6:])
                    or "no line at all",
                )

    def _told(self) -> list[tuple[str, Any]]:
        """What the Guard recorded (and keep what it logged); it may do so a moment after the caller has its answer."""
        records: list[tuple[str, Any]] = []
        while True:
            complete = min(len(records), len(self.logged)) >= len(self.due)
            event = next(self.child.events(timeout_s=0.3 if complete else SILENCE_S), None)
            if event is None:
                return records
            if event["event"] == "log":
                self.logged.append(event["line"])
            elif event["event"] == "record":
                code = StatusCode.__members__.get(event["code"], event["code"])
                records.append((event["method"].removeprefix("/greeter.Greeter/"), code))

    def _not_recorded(self, missing: list[tuple[str, StatusCode]], others: list[tuple[str, Any]]) -> None:
        """Name what is behind it: a call that was not recorded at all, or under another status than the caller's."""
        streams = [due for due in missing if due[0] != "SayHello" and due[1] is StatusCode.OK]
        method, code = (streams or missing)[0]
        instead = next((other for named, other in others if named == method), None)
        got = f"{method} {getattr(instead, 'name', instead)}" if instead else "no record of it"
        if len({method for method, _ in streams}) == len(KINDS) - 1:
            slug, said = "only_unary_covered", "calls that stream are not recorded at all"
        elif code is not StatusCode.OK and not instead:
            slug, said = "metrics_skip_failed_calls", f"a call of {method} that ended with {code.name} was not recorded"
        elif code is StatusCode.UNKNOWN:
            slug, said = "crash_counted_as_ok", f"{method} was left by an exception, and something else was recorded"
        elif instead is StatusCode.OK and method in ("SayHelloInEach", "Chat"):
            slug, said = "stream_counted_when_it_starts", f"{method} failed in its stream, and was recorded as OK"
        elif code is StatusCode.OK and others:
            slug, said = "state_shared_between_calls", "two calls overlapped, and one was recorded as the other"
        else:
            slug, said = "", f"a call of {method} ended with {code.name}, and that was not recorded"
        shown = [line for line in self.history if line.endswith(code.name) and line.startswith(f"{method} ")][:1]
        if slug == "state_shared_between_calls":
            shown = self.overlap
        records = [f"recorded besides: {named} {getattr(other, 'name', other)}" for named, other in others[:4]]
        self.run.reject(slug, said, expected=f"{method} {code.name}", got=got, evidence=[*shown, *records])

    def leaves_unknown_methods_alone(self) -> None:
        call = self.channel.unary_unary("/greeter.Greeter/Bow")
        ended = finish(call, b"", metadata=[("authorization", f"Bearer {self.token}")])
        self.history.append(f"Bow, which the server does not have -> {ended.code.name}")
        if ended.code is not StatusCode.UNIMPLEMENTED:
            slug = "unknown_method_crashes" if ended.code is StatusCode.UNKNOWN else ""
            said = "somebody called a method that the server does not have"
            self.reject(slug, said, expected="UNIMPLEMENTED, as without your Guard", got=ended)

    def keeps_the_secret(self) -> None:
        for where, text in (("printed", self.child.printed), ("logged", "\n".join(self.logged))):
            lines = [line for line in text.splitlines() if self.token in line]
            if lines:
                self.run.reject(
                    "secret_in_log_line",
                    f"the token is in what your Guard {where}",
                    expected="lines that do not show it",
                    got=f"{len(lines)} line(s) with the token",
                    evidence=[line.replace(self.token, "«the token»") for line in lines[:4]],
                )
