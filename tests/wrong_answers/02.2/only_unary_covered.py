"""Guards the kind of call that its author tried."""

import hmac

import grpc


class Guard(grpc.ServerInterceptor):
    def __init__(self, token, log, record):
        self.token, self.log, self.record = token, log, record

    def intercept_service(self, continuation, call):
        handler = continuation(call)
        if handler is None or not handler.unary_unary:
            return handler

        def guarded(request, context):
            code = grpc.StatusCode.UNKNOWN
            try:
                shown = dict(call.invocation_metadata).get("authorization", "")
                if not hmac.compare_digest(shown.encode(), f"Bearer {self.token}".encode()):
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "show your token")
                reply = handler.unary_unary(request, context)
                code = grpc.StatusCode.OK
                return reply
            finally:
                code = context.code() or code
                self.record(call.method, code)
                self.log(f"{call.method} {code.name}")

        return grpc.unary_unary_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)
