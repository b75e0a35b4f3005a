"""Both ends of a gRPC call as the checks need them: a server that reports, and a client that says how a call ended."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc

from labsupport.exercises.answer import Child

PATIENCE_S = 30.0  # the deadline of a call that should take a millisecond; a busy machine takes longer
SILENCE_S = 6.0  # that long nothing came, so nothing will: only wrong answers wait for it
ENDLESS_S = 1e6  # grpc gives a call without a deadline a time of many years

# A private server never shares its port: with SO_REUSEPORT two servers would take turns on one, and nobody would know.
OPTIONS = (("grpc.so_reuseport", 0),)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a call ended for its caller: the status, the replies that came before it, the status's text."""

    code: grpc.StatusCode
    replies: tuple[Any, ...] = ()
    details: str = ""

    @property
    def ok(self) -> bool:
        return self.code is grpc.StatusCode.OK

    def __str__(self) -> str:
        return f"{self.code.name} ({_one_line(self.details)})" if self.details else self.code.name


def finish(call: Callable[..., Any], argument: Any, timeout_s: float = PATIENCE_S, **more: Any) -> Ended:
    """Make a call of any kind and wait for its end; one request or an iterator of them is the `argument`."""
    replies: list[Any] = []
    try:
        answer = call(argument, timeout=timeout_s, **more)
        if isinstance(answer, grpc.RpcContext):  # of a stream of replies one gets the call itself
            replies.extend(answer)
        else:
            replies.append(answer)
    except grpc.RpcError as error:
        return Ended(error.code(), tuple(replies), error.details() or "")
    return Ended(grpc.StatusCode.OK, tuple(replies))


def result_of(call: grpc.Future) -> Ended:
    """How a call ended that was begun with ``.future()``."""
    return finish(lambda *_, **__: call.result(), None)


class Accident(Exception):
    """What a method of the check raises on purpose: of that one, nobody is told."""


@contextlib.contextmanager
def channel_to(port: int) -> Iterator[grpc.Channel]:
    """A channel to a server on this machine, with connections of its own, closed on exit."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield channel


@contextlib.contextmanager
def serving(handlers: grpc.GenericRpcHandler) -> Iterator[int]:
    """A server of the check itself; gives its port."""
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[handlers], options=OPTIONS)
    try:
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
    finally:
        server.stop(None).wait(PATIENCE_S)


def host(tell: Any, add: Callable[[grpc.Server], None], *interceptors: grpc.ServerInterceptor) -> None:
    """In the child: serve what `add` registers, behind `interceptors`, tell the port, and go on until killed."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)  # what is raised is told below, once
    server = grpc.server(futures.ThreadPoolExecutor(16), interceptors=[_Reporter(tell), *interceptors], options=OPTIONS)
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tell("ready", port=port)
    server.wait_for_termination()


def kind_of(handler: Any) -> str:
    """The kind of call that a method handler is for, as grpc's functions have it in their names."""
    requests = "stream" if handler.request_streaming else "unary"
    return f"{requests}_{'stream' if handler.response_streaming else 'unary'}"


def within(handler: grpc.RpcMethodHandler, around: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
    """The same method, whatever its kind, run from first to last inside the context manager ``around(context)``."""
    kind = kind_of(handler)
    method = getattr(handler, kind)

    def one(argument: Any, context: grpc.ServicerContext) -> Any:
        with around(context):
            return method(argument, context)

    def many(argument: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with around(context):
            yield from each(method(argument, context))

    wrap = getattr(grpc, f"{kind}_rpc_method_handler")
    return wrap(many if handler.response_streaming else one, handler.request_deserializer, handler.response_serializer)


def each(replies: Any) -> Iterator[Any]:
    """What a streaming method gave, one by one and as grpc takes it: by next(), so that a list is an error here too."""
    while True:
        try:
            reply = next(replies)
        except StopIteration:
            return
        yield reply


class _Reporter(grpc.ServerInterceptor):
    """Outermost in a child's server: what the learner's code raises reaches the check, which grpc would only log."""

    def __init__(self, tell: Any) -> None:
        self.tell = tell

    def intercept_service(self, continuation: Callable[..., Any], handler_call_details: Any) -> Any:
        with self.reported():
            handler = continuation(handler_call_details)
        return handler and within(handler, self.reported)

    @contextlib.contextmanager
    def reported(self, context: object = None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Not the learner's: ServicerContext.abort() leaves a method by a bare Exception(), and the requests of a
            # caller who has gone end in a bare RpcError().
            if not isinstance(error, Accident) and (type(error) not in (Exception, grpc.RpcError) or error.args):
                self.tell.failed(error)
            raise


def evidence_of(child: Child) -> tuple[str, ...]:
    """The traceback of what the learner's code raised, if it is known by now."""
    return tuple(map(_one_line, child.failure.lines)) if child.failure else ()


def shortened(history: Sequence[str], keep: int = 14) -> list[str]:
    """A history that a person reads to its end: its first lines and its last one, and how many are between."""
    if len(history) <= keep:
        return list(history)
    return [*history[: keep - 2], f"… {len(history) - keep + 1} more like these …", history[-1]]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:159]}…"
