"""An interface definition (`.proto`) for the checks: generated modules for a learner's process, messages for ours.

A check speaks to a learner's server over the wire, from a process that may have loaded the learner's own
``greeter_pb2``. Two definitions of one name in one pool are an error of protobuf, so a check never imports generated
code: it reads the definition into a pool of its own.
"""

from __future__ import annotations

import functools
import importlib.resources
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from labsupport.errors import SetupError
from labsupport.services import reaper

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "lessons" / "idl"

KINDS = {
    "SayHello": "unary",
    "SayHelloInEach": "server streaming",
    "SayHelloToAll": "client streaming",
    "Chat": "bidirectional",
}
PEOPLE = ("Ada", "Barbara", "Edsger", "Frances", "Grace", "Ken", "Leslie", "Margaret", "Nancy", "Radia")


class Definition:
    """One compiled `.proto` file of lessons/idl.

    >>> greeter = Definition("greeter")
    >>> greeter.Number(value=3).value
    3
    """

    def __init__(self, name: str) -> None:
        self.directory = str(reaper.private_directory("idl"))  # has NAME_pb2.py and NAME_pb2_grpc.py
        described = pathlib.Path(self.directory, f"{name}.bin")
        _compile(name, f"--python_out={self.directory}", f"--grpc_python_out={self.directory}", f"-o{described}")
        files = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
        self._pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self._pool.Add(file)
        self._package = files.file[-1].package

    def __getattr__(self, name: str) -> Any:
        """The class of a message, such as ``definition.Number``."""
        try:
            return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{self._package}.{name}"))
        except KeyError as error:
            raise AttributeError(f"the definition has no message {name!r}") from error

    def stub(self, channel: grpc.Channel, service: str) -> dict[str, Callable[..., Any]]:
        """What a generated stub offers, as a dictionary: method name -> what calls it over `channel`."""
        calls = {}
        for method in self._methods(service):
            call = getattr(channel, _kind(method))(
                f"/{self._package}.{service}/{method.name}",
                request_serializer=message_factory.GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            calls[method.name] = call
        return calls

    def handlers(self, service: str, functions: Mapping[str, Callable[..., Any]]) -> grpc.GenericRpcHandler:
        """What a server needs to answer `service` with `functions`, by method name."""
        methods = {}
        for method in self._methods(service):
            methods[method.name] = getattr(grpc, f"{_kind(method)}_rpc_method_handler")(
                functions[method.name],
                request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
                response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
            )
        return grpc.method_handlers_generic_handler(f"{self._package}.{service}", methods)

    def _methods(self, service: str) -> Any:
        return self._pool.FindServiceByName(f"{self._package}.{service}").methods


@functools.cache
def idl() -> Definition:
    """The definition of this lesson's services, compiled once in this process."""
    return Definition("greeter")


def argument(method: str, requests: Sequence[Any]) -> Any:
    """What a call of the Greeter's `method` takes: one request, or an iterator of them."""
    return iter(requests) if method in ("SayHelloToAll", "Chat") else requests[0]


def _compile(name: str, *outputs: str) -> None:
    from grpc_tools import protoc  # the compiler is large, and the children that import this module never need it

    source = FOLDER / f"{name}.proto"
    if not source.exists():
        raise SetupError(f"{source} is missing", do="get the course's folder again: the checks read it there")
    well_known = str(importlib.resources.files("grpc_tools") / "_proto")
    if protoc.main(["protoc", f"-I{FOLDER}", f"-I{well_known}", *outputs, source.name]):
        raise SetupError(f"{source} cannot be compiled", cause="it was changed", do="undo that: the checks read it too")


def _kind(method: Any) -> str:
    requests = "stream" if method.client_streaming else "unary"
    return f"{requests}_{'stream' if method.server_streaming else 'unary'}"
