"""A server that makes its threads itself, and a client that counts what it has open."""

import contextlib
import threading

from thrift.protocol import TBinaryProtocol, TCompactProtocol, TJSONProtocol
from thrift.Thrift import TException
from thrift.transport import TSocket, TTransport

PROTOCOLS = {
    "binary": TBinaryProtocol.TBinaryProtocolFactory(),
    "compact": TCompactProtocol.TCompactProtocolFactory(),
    "JSON": TJSONProtocol.TJSONProtocolFactory(),
}
TRANSPORTS = {"buffered": TTransport.TBufferedTransportFactory(), "framed": TTransport.TFramedTransportFactory()}


def serve(processor, listener, protocol, transport):
    listener.listen()
    while True:
        threading.Thread(target=talk, args=(processor, listener.accept(), protocol, transport), daemon=True).start()


def talk(processor, socket, protocol, transport):
    both = PROTOCOLS[protocol].getProtocol(TRANSPORTS[transport].getTransport(socket))
    with contextlib.suppress(TException):
        while True:
            processor.process(both, both)
    socket.close()


class Caller:
    def __init__(self, service, port, protocol, transport, timeout_s):
        self.service, self.port, self.timeout_s = service, port, timeout_s
        self.protocol, self.transport = PROTOCOLS[protocol], TRANSPORTS[transport]
        self.stack = None

    def call(self, method, *arguments):
        if self.stack is None:
            socket = TSocket.TSocket("127.0.0.1", self.port)
            socket.setTimeout(self.timeout_s * 1000)
            self.stack = self.transport.getTransport(socket)
            self.stack.open()
            self.client = self.service.Client(self.protocol.getProtocol(self.stack))
        try:
            return getattr(self.client, method)(*arguments)
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.stack is not None:
            self.stack.close()
            self.stack = None
