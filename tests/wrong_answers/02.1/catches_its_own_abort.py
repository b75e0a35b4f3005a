"""Catches everything that goes wrong with a language, its own abort included."""

import greeter_pb2
import greeter_pb2_grpc
import grpc


class Greeter(greeter_pb2_grpc.GreeterServicer):
    def __init__(self, phrase):
        self.phrase = phrase

    def lines(self, request, context):
        for language in request.languages:
            if not context.is_active():
                return
            try:
                if not request.name:
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a name is needed")
                yield f"{self.phrase(language)}, {request.name}!"
            except Exception:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no language {language!r}")

    def SayHello(self, request, context):
        return greeter_pb2.HelloReply(message=" ".join(self.lines(request, context)))

    def SayHelloInEach(self, request, context):
        for line in self.lines(request, context):
            yield greeter_pb2.HelloReply(message=line)

    def SayHelloToAll(self, requests, context):
        lines = [line for request in requests for line in self.lines(request, context)]
        return greeter_pb2.HelloReply(message=" ".join(lines))

    def Chat(self, requests, context):
        for request in requests:
            yield self.SayHello(request, context)
