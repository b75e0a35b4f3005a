"""What Thrift's compiler would write, built at run time from a definition that thriftpy2 has read.

The classes stand on Apache's library, as generated ones do (compare its option `py:dynamic`): a struct is a list of
fields, `thrift_spec`; a client writes the arguments of a call as a struct and reads the result as one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import thriftpy2
import thriftpy2.parser
from thrift.protocol.TBase import TBase, TExceptionBase
from thrift.protocol.TProtocol import TProtocolException
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport import TTransport
from thrift.TRecursive import fix_spec
from thriftpy2.parser.exc import ThriftParserError

BINARY = 18  # thriftpy2's own mark for strings of bytes


def build(path: Path, package: str) -> ModuleType:
    """The module of a definition.

    Raises:
        LearnerError: it is not understood.
    """
    from labsupport.services.thrift import refusal

    try:
        read = thriftpy2.parser.parse(str(path), module_name=f"{package}_thrift", enable_cache=False)
    except ThriftParserError as error:
        raise refusal(path, str(error)) from None
    module = ModuleType(path.stem, f"Made from {path.name} without the Thrift compiler.")
    module.generated = None
    known: dict[type, type] = {}
    for kind in _all(read, "structs", "unions", "exceptions"):
        known[kind] = _struct(kind, module)
    for kind, made in known.items():
        made.thrift_spec = _spec(kind, known)
    fix_spec(list(known.values()))
    for kind in [*_all(read, "structs", "unions", "exceptions"), *read.__thrift_meta__["enums"]]:
        if kind.__module__ == read.__name__:
            setattr(module, kind.__name__, known.get(kind, kind))
    for name, value in vars(read).items():
        if name.isupper() and not name.startswith("_") and not isinstance(value, type):  # a constant, no struct
            setattr(module, name, _constant(value, known))
    for service in read.__thrift_meta__["services"]:
        setattr(module, service.__name__, _service(service, known))
    return module


def _all(read: Any, *sections: str) -> list[type]:
    """What a definition and those that it includes declare."""
    own = [kind for section in sections for kind in read.__thrift_meta__[section]]
    return [*(kind for other in read.__thrift_meta__["includes"] for kind in _all(other, *sections)), *own]


def _struct(kind: type, module: ModuleType | None = None) -> type:
    """A class with the fields of one of thriftpy2's; its `thrift_spec` comes later, since structs may be recursive."""
    defaults = kind.default_spec
    names = tuple(name for name, _ in defaults)
    required = [field[1] for field in kind.thrift_spec.values() if field[-1]]

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        if len(values) > len(names) or set(named) - set(names):
            raise TypeError(f"{kind.__name__} has the fields {', '.join(names)}")
        for name, value in {**dict(defaults), **dict(zip(names, values, strict=False)), **named}.items():
            setattr(self, name, value)

    def validate(self: Any) -> None:
        for name in required:
            if getattr(self, name) is None:
                raise TProtocolException(message=f"Required field {name} is unset!")

    base = TExceptionBase if issubclass(kind, Exception) else TBase
    body = {"__slots__": names, "__init__": __init__, "validate": validate, "__hash__": base.__hash__}
    if module is not None:
        body["__module__"] = module.__name__
    return type(kind.__name__, (base,), body)


def _spec(kind: type, known: dict[type, type]) -> tuple:
    """Its fields as Apache's library wants them: (number, type, name, more about the type, default), by number."""
    fields, defaults = kind.thrift_spec, dict(kind.default_spec)
    rows: list[tuple | None] = [None] * (max(fields, default=-1) + 1)
    for number, (ttype, name, *more) in fields.items():
        inner = more[0] if len(more) == 2 else None
        rows[number] = (
            number,
            *_type(ttype, inner, known)[:1],
            name,
            _type(ttype, inner, known)[1],
            defaults.get(name),
        )
    return tuple(rows)


def _type(ttype: int, inner: Any, known: dict[type, type]) -> tuple[int, Any]:
    """A type and what else must be known of it."""
    if ttype == BINARY:
        return TType.STRING, "BINARY"
    if ttype == TType.STRING:
        return TType.STRING, "UTF8"
    if ttype == TType.STRUCT:
        return TType.STRUCT, [known[inner], None]
    if ttype in (TType.LIST, TType.SET):
        return ttype, (*_element(inner, known), False)
    if ttype == TType.MAP:
        key, value = inner
        return ttype, (*_element(key, known), *_element(value, known), False)
    return ttype, None


def _element(described: Any, known: dict[type, type]) -> tuple[int, Any]:
    ttype, inner = described if isinstance(described, tuple) else (described, None)
    return _type(ttype, inner, known)


def _constant(value: Any, known: dict[type, type]) -> Any:
    if type(value) in known:
        return known[type(value)](**{name: _constant(each, known) for name, each in vars(value).items()})
    return value


class _Calls:
    """The arguments and results of a service's methods, as structs."""

    def __init__(self, service: type, known: dict[type, type]) -> None:
        self.names = list(service.thrift_services)
        self.arguments = {name: self._of(service, f"{name}_args", known) for name in self.names}
        self.results = {name: self._of(service, f"{name}_result", known) for name in self.names}
        self.oneway = {name for name in self.names if getattr(service, f"{name}_result").oneway}

    @staticmethod
    def _of(service: type, name: str, known: dict[type, type]) -> type:
        kind = getattr(service, name)
        made = _struct(kind)
        made.thrift_spec = _spec(kind, known)
        fix_spec([made])
        return made


def _service(service: type, known: dict[type, type]) -> SimpleNamespace:
    """A service as the compiler's module of it: with `Client`, `Processor` and `Iface`."""
    calls = _Calls(service, known)
    methods = {name: _method(name, calls) for name in calls.names}
    return SimpleNamespace(
        __name__=service.__name__,
        Iface=type("Iface", (), dict.fromkeys(calls.names, lambda self, *values: None)),
        Client=type("Client", (_Client,), methods),
        Processor=type("Processor", (_Processor,), {"calls": calls}),
    )


class _Client:
    def __init__(self, iprot: Any, oprot: Any = None) -> None:
        self._iprot, self._oprot = iprot, oprot or iprot


def _method(name: str, calls: _Calls) -> Any:
    arguments, results = calls.arguments[name], calls.results[name]
    exceptions = [field[2] for field in results.thrift_spec if field is not None and field[0] != 0]
    is_void = not results.thrift_spec or results.thrift_spec[0] is None

    def method(self: _Client, *values: Any, **named: Any) -> Any:
        kind = TMessageType.ONEWAY if name in calls.oneway else TMessageType.CALL
        self._oprot.writeMessageBegin(name, kind, 0)
        arguments(*values, **named).write(self._oprot)
        self._oprot.writeMessageEnd()
        self._oprot.trans.flush()
        if name in calls.oneway:
            return None
        _, answer, _ = self._iprot.readMessageBegin()  # its number is not looked at, as in generated code
        result = TApplicationException() if answer == TMessageType.EXCEPTION else results()
        result.read(self._iprot)
        self._iprot.readMessageEnd()
        if answer == TMessageType.EXCEPTION:
            raise result
        if not is_void and result.success is not None:
            return result.success
        for each in exceptions:
            if getattr(result, each) is not None:
                raise getattr(result, each)
        if is_void:
            return None
        raise TApplicationException(TApplicationException.MISSING_RESULT, f"{name} failed: unknown result")

    method.__name__ = name
    return method


class _Processor(TProcessor):
    calls: _Calls

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._on_message_begin: Any = None

    def on_message_begin(self, func: Any) -> None:
        self._on_message_begin = func

    def process(self, iprot: Any, oprot: Any) -> bool | None:
        name, kind, number = iprot.readMessageBegin()
        if self._on_message_begin:
            self._on_message_begin(name, kind, number)
        if name not in self.calls.arguments:
            iprot.skip(TType.STRUCT)
            iprot.readMessageEnd()
            unknown = TApplicationException(TApplicationException.UNKNOWN_METHOD, f"Unknown function {name}")
            self._answer(oprot, name, TMessageType.EXCEPTION, number, unknown)
            return None
        arguments = self.calls.arguments[name]()
        arguments.read(iprot)
        iprot.readMessageEnd()
        answer, result = self._run(name, arguments)
        if name not in self.calls.oneway:
            self._answer(oprot, name, answer, number, result)
        return True

    def _run(self, name: str, arguments: Any) -> tuple[int, Any]:
        result = self.calls.results[name]()
        declared = {field[3][0]: field[2] for field in result.thrift_spec if field and field[0] != 0}
        try:
            value = getattr(self._handler, name)(*(getattr(arguments, each) for each in arguments.__slots__))
            if "success" in result.__slots__:
                result.success = value
        except TTransport.TTransportException:
            raise
        except tuple(declared) as error:
            setattr(result, next(field for kind, field in declared.items() if isinstance(error, kind)), error)
        except TApplicationException as error:
            logging.exception("TApplication exception in handler")
            return TMessageType.EXCEPTION, error
        except Exception:
            logging.exception("Unexpected exception in handler")
            return TMessageType.EXCEPTION, TApplicationException(TApplicationException.INTERNAL_ERROR, "Internal error")
        return TMessageType.REPLY, result

    @staticmethod
    def _answer(oprot: Any, name: str, kind: int, number: int, content: Any) -> None:
        oprot.writeMessageBegin(name, kind, number)
        content.write(oprot)
        oprot.writeMessageEnd()
        oprot.trans.flush()
