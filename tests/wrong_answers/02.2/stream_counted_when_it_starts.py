"""Treats the iterator that a streaming method gives back as its end."""

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
        method = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        def guarded(argument, context):
            code = grpc.StatusCode.UNKNOWN
            try:
                if not known:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "show your token")
                answer = method(argument, context)
                code = grpc.StatusCode.OK
                return answer
            finally:
                code = context.code() or code
                self.record(call.method, code)
                self.log(f"{call.method} {code.name}")

        kind = "stream_" if handler.request_streaming else "unary_"
        kind += "stream" if handler.response_streaming else "unary"
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(guarded, handler.request_deserializer, handler.response_serializer)
