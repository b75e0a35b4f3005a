"""Four methods without a helper: statuses by set_code, cancellation by a callback, a reader thread in the chat."""

import queue
import threading

import greeter_pb2
import greeter_pb2_grpc
import grpc


class Refused(Exception):
    pass


class Greeter(greeter_pb2_grpc.GreeterServicer):
    def __init__(self, phrase):
        self.phrase = phrase

    def greeting(self, request, language, context):
        if request.name == "":
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            context.set_details("nobody to greet")
            raise Refused
        try:
            word = self.phrase(language)
        except LookupError:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(language)
            raise Refused from None
        return f"{word}, {request.name}!"

    def SayHello(self, request, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        found = []
        try:
            for language in request.languages:
                if gone.is_set():
                    break
                found.append(self.greeting(request, language, context))
        except Refused:
            return greeter_pb2.HelloReply()
        return greeter_pb2.HelloReply(message=" ".join(found))

    def SayHelloInEach(self, request, context):
        try:
            for language in request.languages:
                yield greeter_pb2.HelloReply(message=self.greeting(request, language, context))
        except Refused:
            return

    def SayHelloToAll(self, requests, context):
        message = ""
        try:
            for request in list(requests):
                for language in request.languages:
                    message += self.greeting(request, language, context) + " "
        except Refused:
            return greeter_pb2.HelloReply()
        return greeter_pb2.HelloReply(message=message.rstrip())

    def Chat(self, requests, context):
        waiting = queue.Queue()

        def read():
            try:
                for request in requests:
                    waiting.put(request)
            except grpc.RpcError:
                pass
            waiting.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            while (request := waiting.get()) is not None:
                found = [self.greeting(request, language, context) for language in request.languages]
                yield greeter_pb2.HelloReply(message=" ".join(found))
        except Refused:
            return
