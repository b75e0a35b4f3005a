"""A stranger gets another handler; a friend's call is recorded by a context manager around the method."""

import contextlib

import grpc

OK, UNKNOWN, UNAUTHENTICATED = (
    grpc.StatusCode.OK,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAUTHENTICATED,
)


class Guard(grpc.ServerInterceptor):
    def __init__(self, token, log, record):
        self.wanted = ("authorization", f"Bearer {token}")
        self.log, self.record = log, record

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        if handler is None:
            return handler
        if self.wanted not in [(key, value) for key, value in details.invocation_metadata]:
            return grpc.unary_unary_rpc_method_handler(lambda _, context: self.refuse(details.method, context))
        serializers = handler.request_deserializer, handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            method = self.many(handler.stream_stream, details.method)
            return grpc.stream_stream_rpc_method_handler(method, *serializers)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self.one(handler.stream_unary, details.method), *serializers)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self.many(handler.unary_stream, details.method), *serializers)
        return grpc.unary_unary_rpc_method_handler(self.one(handler.unary_unary, details.method), *serializers)

    def refuse(self, method, context):
        self.ended(method, UNAUTHENTICATED)
        context.abort(UNAUTHENTICATED, "who are you?")

    def ended(self, method, code):
        self.record(method, code)
        self.log(f"call of {method}: {code}")

    @contextlib.contextmanager
    def watched(self, method, context):
        try:
            yield
        except BaseException:
            self.ended(method, context.code() or UNKNOWN)
            raise
        else:
            self.ended(method, context.code() or OK)

    def one(self, inner, method):
        def call(argument, context):
            with self.watched(method, context):
                return inner(argument, context)

        return call

    def many(self, inner, method):
        def call(argument, context):
            with self.watched(method, context):
                yield from inner(argument, context)

        return call
