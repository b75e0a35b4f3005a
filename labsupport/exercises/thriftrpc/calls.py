"""Both ends of a Thrift call as the checks need them: a server that says its port, and a client with a time limit."""

from __future__ import annotations

import contextlib
import functools
import logging
import pathlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from labsupport.errors import SetupError
from labsupport.services.thrift import load

HOST = "127.0.0.1"
PATIENCE_S = 30.0  # for a call that should take a millisecond; a busy machine takes longer
SILENCE_S = 6.0  # that long nothing came, so nothing will: only wrong answers wait for it
FOLDER = pathlib.Path(__file__).resolve().parents[3] / "lessons" / "idl"


@functools.cache
def definition(name: str) -> ModuleType:
    """One of the lesson's definitions, in Python; no compiler, so that it is the same on every machine."""
    path = FOLDER / f"{name}.thrift"
    if not path.exists():
        raise SetupError(f"{path} is missing", do="get the course's folder again: the checks read it there")
    return load(path, compiled=False)


def factories(protocol: str, transport: str) -> tuple[Any, Any]:
    """Thrift's own factories: of a protocol ("binary", "compact", "JSON") and of a transport ("buffered", "framed")."""
    definition("calculator")  # that brings the library
    from thrift.protocol import TBinaryProtocol, TCompactProtocol, TJSONProtocol
    from thrift.transport import TTransport

    protocols = {
        "binary": TBinaryProtocol.TBinaryProtocolFactory,
        "compact": TCompactProtocol.TCompactProtocolFactory,
        "JSON": TJSONProtocol.TJSONProtocolFactory,
    }
    transports = {
        "buffered": TTransport.TBufferedTransportFactory,
        "framed": TTransport.TFramedTransportFactory,
    }
    return protocols[protocol](), transports[transport]()


def listener(tell: Any) -> Any:
    """A Thrift server's socket on a free port, which it tells when it listens."""
    definition("calculator")  # that brings the library
    from thrift.transport import TSocket

    class Listener(TSocket.TServerSocket):
        def listen(self) -> None:
            super().listen()
            tell("ready", port=self.handle.getsockname()[1])

    return Listener(HOST, 0)


def host(tell: Any, processor: Any) -> None:
    """Serve until the process ends: binary protocol, buffered transport, a thread for each connection."""
    definition("calculator")  # that brings the library
    from thrift.server import TServer

    logging.disable(logging.CRITICAL)  # a client's view of a failure is what counts
    protocol, transport = factories("binary", "buffered")
    TServer.TThreadedServer(processor, listener(tell), transport, protocol, daemon=True).serve()


@contextlib.contextmanager
def client_of(
    service: Any, port: int, protocol: str = "binary", transport: str = "buffered", timeout_s: float = PATIENCE_S
) -> Iterator[Any]:
    """A client of a service on a connection of its own."""
    definition("calculator")  # that brings the library
    from thrift.transport import TSocket

    make_protocol, make_transport = factories(protocol, transport)
    socket = TSocket.TSocket(HOST, port)
    socket.setTimeout(1000 * timeout_s)
    stack = make_transport.getTransport(socket)
    stack.open()
    try:
        yield service.Client(make_protocol.getProtocol(stack))
    finally:
        stack.close()
