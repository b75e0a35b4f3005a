"""Makes a list of a stream before it hands it on."""

import hmac

import grpc


class Guard(grpc.ServerInterceptor):
    def __init__(self, token, log, record):
        self.token, self.log, self.record = token, log, record

    def intercept_service(self, continuation, call):
        handler = continuation(call)
        if handler is None:
            return None
        shown = dict(call.invocation_metadata).get("authorization", "")
        known = hmac.compare_digest(shown.encode(), f"Bearer {self.token}".encode())
        kind = "stream_" if handler.request_streaming else "unary_"
        kind += "stream" if handler.response_streaming else "unary"
        method = getattr(handler, kind)

        def many(argument, context):
            code = grpc.StatusCode.UNKNOWN
            try:
                if not known:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "show your token")
                replies = list(method(argument, context)) if handler.response_streaming else [method(argument, context)]
                code = grpc.StatusCode.OK
            finally:
                code = context.code() or code
                self.record(call.method, code)
                self.log(f"{call.method} {code.name}")
            yield from replies

        def one(argument, context):
            [reply] = many(argument, context)
            return reply

        guarded = many if handler.response_streaming else one
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(guarded, handler.request_deserializer, handler.response_serializer)
