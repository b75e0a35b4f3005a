"""Messages: plain typed records with one form on the wire, the JSON body of the Maelstrom protocol.

    @message
    class Ping:
        number: int

    Ping(3)  <->  {"type": "ping", "number": 3}

A message is never handed over as an object: the receiver gets a copy that went through the wire form, in every world.
So it can hold only what JSON can say, a tuple arrives as a list, and what the receiver changes stays with the receiver.
The copy is made value by value instead of by writing and parsing text, which gives the same result several times faster
(a property test compares the two); text is written only where a line leaves the process.

Source: https://github.com/jepsen-io/maelstrom, doc/protocol.md.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import keyword
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from labsupport.errors import LearnerError

RESERVED = ("type", "msg_id", "in_reply_to")  # the keys that the protocol keeps for itself

WHOLE = frozenset({int, str, bool, type(None)})  # values that need neither a check nor a copy
_ATOMS = WHOLE | {float}  # the same, once a float is known to be finite


class Message:
    """What `message` makes of a class; not to be used by itself."""

    __slots__ = ("_answers", "_envelope", "_msg_id", "_sender")  # on what has arrived, not on what a node makes

    wire_type: str = ""
    wire_names: tuple[str, ...] = ()
    _defaults: tuple[Callable[[], Any] | None, ...] = ()

    def _sent(self, sender: str, msg_id: int | None, answers: int | None) -> Message:
        """The copy that a receiver gets; `answers` is the msg_id of the request that it is the answer to."""
        copy = self._unpack(self._pack(), sender, msg_id)
        copy._answers = answers
        return copy


def message(cls: type | None = None, *, wire_type: str = "") -> Any:
    """Turn a class with annotated fields into a message.

    The handler of a message ``AppendEntries`` is called ``on_append_entries`` and its ``"type"`` on the wire is
    ``"append_entries"``. A field whose name is a word of Python gets an underscore at its end (``from_``), which the
    wire does not see.

    Args:
        cls: the class to turn.
        wire_type: another name on the wire.

    Raises:
        LearnerError: a field has a name that the protocol keeps for itself, or the class has a base.

    >>> @message
    ... class Ping:
    ...     number: int
    >>> body(Ping(3))
    {'type': 'ping', 'number': 3}
    """
    if cls is None:
        return lambda real: message(real, wire_type=wire_type)
    if cls.__bases__ != (object,):
        raise LearnerError(f"The message {cls.__name__} is built on another class.", do="repeat the fields it needs")
    space = {key: value for key, value in cls.__dict__.items() if key not in ("__dict__", "__weakref__")}
    names = list(inspect.get_annotations(cls))
    for name in names:
        if name in RESERVED or name.startswith("_"):
            raise LearnerError(
                f"{cls.__name__}.{name} cannot be a field of a message.",
                cause=f"the protocol keeps {', '.join(RESERVED)} for itself, and names that begin with _ are ours",
                do="choose another name",
            )
    if cls.__module__ not in sys.modules:
        space["__module__"] = __name__  # code that was loaded without a module of its own; dataclasses looks for it
    made = dataclasses.dataclass(slots=True)(type(cls.__name__, (Message,), space))
    made.wire_type = wire_type or snake(cls.__name__)
    made.wire_names = tuple(_wire_name(name) for name in names)
    _write_copying(made)
    made._defaults = tuple(map(_default, dataclasses.fields(made)))
    if made.wire_type not in KNOWN or not made.__module__.startswith("labsupport."):
        KNOWN[made.wire_type] = made  # the course's own messages never take the place of a learner's
    return made


KNOWN: dict[str, type[Message]] = {}  # the newest class of each wire type: a notebook cell may be run again


def learners() -> dict[str, type[Message]]:
    """The message classes that were not defined by this package, by wire type.

    Whoever sends a node class to another process by value sends these along: a class that only arrives, such as an
    answer, is named nowhere in the node's code. There, ``KNOWN.update(...)`` makes them known.
    """
    return {name: kind for name, kind in KNOWN.items() if not kind.__module__.startswith("labsupport.")}


def snake(name: str) -> str:
    """``AppendEntries`` as ``append_entries``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def body(sent: Message, msg_id: int | None = None, in_reply_to: int | None = None) -> dict[str, Any]:
    """A message's JSON body, a copy.

    Raises:
        LearnerError: a field holds something that JSON cannot say.
    """
    return packed_body(type(sent), sent._pack(), msg_id, in_reply_to)


def packed_body(kind: type[Message], parts: tuple, msg_id: int | None = None, in_reply_to: int | None = None) -> dict:
    """The JSON body of what `Message._pack` gave; the worlds keep messages in that form."""
    full: dict[str, Any] = {"type": kind.wire_type}
    if msg_id is not None:
        full["msg_id"] = msg_id
    if in_reply_to is not None:
        full["in_reply_to"] = in_reply_to
    full.update(zip(kind.wire_names, map(copied, parts), strict=True))
    return full


def from_body(
    received: Mapping[str, Any], sender: str = "", kinds: Mapping[str, type[Message]] | None = None
) -> Message:
    """The message of a JSON body; fields that its class does not have are left out.

    Args:
        received: the body, as parsed.
        sender: who sent it, so that it can be replied to.
        kinds: the message classes by wire type; all known ones when not given.

    Raises:
        LearnerError: there is no class for its type, or a field without a default is missing.
    """
    wire_type = received.get("type")
    kind = (KNOWN if kinds is None else kinds).get(wire_type)
    if kind is None:
        raise LearnerError(
            f"A message of type {wire_type!r} came from {sender or 'somewhere'}, and no @message class is called so.",
            do=f"write a @message class for it, with the fields {', '.join(k for k in received if k not in RESERVED)}",
        )
    values = []
    for name, default in zip(kind.wire_names, kind._defaults, strict=True):
        if name in received:
            values.append(plain(received[name]))
        elif default is not None:
            values.append(default())
        else:
            raise LearnerError(
                f"A message of type {wire_type!r} came from {sender or 'somewhere'} without the field {name!r}.",
                do=f"give {kind.__name__}.{name} a default value, or make the sender fill it in",
            )
    return kind._unpack(tuple(values), sender, received.get("msg_id"))


def text(full: Mapping[str, Any]) -> str:
    """A body as one line of JSON."""
    return json.dumps(full, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


# ------------------------------------------------------------------------------------------------ copying


def plain(value: Any) -> Any:
    """A copy of a value in what JSON can say: tuples become lists, keys must be text, numbers finite.

    Raises:
        LearnerError: there is something in it that JSON cannot say.
    """
    try:
        return _plain(value)
    except _NotJson as odd:
        raise _explained("The value", value, odd) from None
    except RecursionError:
        raise LearnerError("The value contains itself, and JSON cannot say that.", do="send an id instead") from None


def copied(value: Any) -> Any:
    """A copy of what `plain` gave, without checking it again."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [item if type(item) in _ATOMS else copied(item) for item in value]
    for item in value.values():
        if type(item) not in _ATOMS:
            return {key: copied(item) for key, item in value.items()}
    return value.copy()


class _NotJson(Exception):
    pass


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or type(item) not in WHOLE:
                return {_plain_key(key): _plain(item) for key, item in value.items()}
        return value.copy()
    if kind is list or kind is tuple:
        return [item if type(item) in WHOLE else _plain(item) for item in value]
    if kind in WHOLE or (kind is float and math.isfinite(value)):
        return value
    return _rare(value)


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise _NotJson(f"the key {key!r}", key)
    return str.__str__(key)


def _rare(value: Any) -> Any:
    """Subclasses of what JSON can say, such as members of an IntEnum or a named tuple."""
    if isinstance(value, Message):
        raise _NotJson(f"another message, {type(value).__name__}", value)
    for base in (str, int):
        if isinstance(value, base):
            return base.__str__(value) if base is str else int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return _plain(list(value))
    if isinstance(value, dict):
        return _plain(dict(value))
    raise _NotJson(f"{_shown(value)} ({type(value).__name__})", value)


_INSTEAD = {
    "set": "use sorted(...), a list",
    "frozenset": "use sorted(...), a list",
    "bytes": "use text, for example value.decode() or base64",
    "float": "JSON has neither infinity nor NaN: use None",
    "int": "JSON keys are text: use str(key), or a list of pairs",
    "tuple": "JSON keys are text: use a list of pairs",
    "function": "a function cannot travel: send a name that both sides know",
    "datetime": "use value.timestamp() or value.isoformat()",
}


def _explained(what: str, value: Any, odd: _NotJson) -> LearnerError:
    found, culprit = odd.args
    kind = type(culprit).__name__
    instead = _INSTEAD.get(kind, "use numbers, text, True, False, None, lists, and dicts whose keys are text")
    return LearnerError(
        f"{what} cannot be written as JSON: it holds {found}.",
        cause=f"messages and saved values travel as JSON text in every world; the whole value is {_shown(value)}",
        do=instead,
    )


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


# ------------------------------------------------------------------------------------------------ code per class

_DECLARED = {"int": int, "str": str, "bool": bool, "list": list, "dict": dict, "float": float}


def _default(field: dataclasses.Field) -> Callable[[], Any] | None:
    """What makes a field's default; kept because `dataclasses.MISSING` is another object after a journey by pickle."""
    if field.default is not dataclasses.MISSING:
        value = field.default
        return lambda: value
    return None if field.default_factory is dataclasses.MISSING else field.default_factory


def _wire_name(name: str) -> str:
    return name[:-1] if name.endswith("_") and keyword.iskeyword(name[:-1]) else name


def _declared(field: dataclasses.Field) -> type | None:
    """The plain type that a field is declared with; None when anything may stand there."""
    written = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    if not isinstance(field.type, str) and type(field.type).__name__ == "UnionType":
        written = ""
    name = "" if "|" in written.split("[")[0] or written.rstrip().endswith("None") else written.split("[")[0].strip()
    return None if field.default is None else _DECLARED.get(name)


def _write_copying(made: type[Message]) -> None:
    """Give a class `_pack`, `_sent` and `_unpack`, written for its fields. (Copying is half of what a send costs.)"""
    fields = dataclasses.fields(made)
    values = [f"v{number}" for number in range(len(fields))]
    every = "".join(f"{value}, " for value in values)
    checked, copies = [], []
    space: dict[str, Any] = {"made": made, "new": object.__new__, "odd": _odd, "plain": _plain, "copied": copied}
    space |= {"whole": WHOLE, "atoms": _ATOMS, "refused": _refused, "strange": (_NotJson, RecursionError)}
    for field, value in zip(fields, values, strict=True):
        kind = space[f"t{value}"] = _declared(field)
        checked.append(f"{value} = m.{field.name}")
        look = f"odd(made, {field.name!r}, t{value}, {value})"
        copies.append(value)
        if kind in (int, str, bool):
            checked.append(f"if type({value}) is not t{value}: {value} = {look}")
        elif kind is list:  # many of them are empty
            checked.append(f"{value} = (plain({value}) if {value} else []) if type({value}) is list else {look}")
            copies[-1] = f"copied({value}) if {value} else []"
        elif kind in (dict, float):
            checked.append(f"{value} = {look}")
            copies[-1] = f"copied({value})" if kind is dict else value
        else:
            checked.append(f"if type({value}) not in whole: {value} = plain({value})")
            copies[-1] = f"{value} if type({value}) in atoms else copied({value})"
    checked = ["try:", *(f" {line}" for line in checked or ["pass"]), "except strange: raise refused(m) from None"]
    begin = ["c = new(made)", "c._sender, c._msg_id = sender, msg_id"]
    fill = [f"c.{field.name} = {value}" for field, value in zip(fields, values, strict=True)]
    fill_copies = [f"c.{field.name} = {copy}" for field, copy in zip(fields, copies, strict=True)]
    for head, *lines in (
        ["_pack(m)", *checked, f"return ({every})"],
        ["_sent(m, sender, msg_id, answers)", *checked, *begin, "c._answers = answers", *fill, "return c"],
        ["_unpack(parts, sender, msg_id)", *begin, f"{every}= parts" if every else "", *fill_copies, "return c"],
    ):
        exec("\n ".join([f"def {head}:", *lines]), space)
    made._pack, made._sent, made._unpack = space["_pack"], space["_sent"], staticmethod(space["_unpack"])


def _odd(kind: type[Message], name: str, declared: type | None, value: Any) -> Any:
    """The plain copy of a value that is not exactly of the declared type."""
    ours = isinstance(value, (list, tuple)) if declared is list else declared and isinstance(value, declared)
    if declared and not ours and not (declared is float and isinstance(value, int)):
        raise LearnerError(
            f"{kind.__name__}.{name} is declared as {declared.__name__} and holds {_shown(value)}, "
            f"of type {type(value).__name__}.",
            do="fill in a value of the declared type, or change the declaration",
        )
    return _plain(value)


def _refused(sent: Message) -> LearnerError:
    """What to say of a message that JSON cannot say."""
    for field in dataclasses.fields(sent):
        what, value = f"{type(sent).__name__}.{field.name}", getattr(sent, field.name)
        try:
            _plain(value)
        except _NotJson as strange:
            return _explained(what, value, strange)
        except RecursionError:
            return LearnerError(f"{what} contains itself; JSON cannot say that.")


def sender_of(received: Message) -> tuple[str, int | None]:
    """Who sent a message that arrived, and its msg_id: what a reply needs."""
    try:
        return received._sender, received._msg_id
    except AttributeError:
        if not isinstance(received, Message):
            raise LearnerError(
                f"ctx.reply got {_shown(received)} as the message to answer.",
                do="write ctx.reply(message, YourAnswer(...)), with the message that the handler was given",
            ) from None
        raise LearnerError(
            f"ctx.reply cannot answer {_shown(received)}: nobody sent it to this node.",
            cause="only a message that a handler was given knows its sender",
            do="write ctx.reply(message, answer) with the received message first, or ctx.send(dest, message)",
        ) from None


def not_a_message(value: Any) -> LearnerError:
    """What to say when something else than a message is to be sent."""
    if isinstance(value, type) and issubclass(value, Message):
        return LearnerError(f"{value.__name__} is a message class, not a message.", do=f"write {value.__name__}(...)")
    return LearnerError(
        f"{_shown(value)} of type {type(value).__name__} is not a message.",
        do="write a class with fields, put @message above it, and send one of its objects",
    )


# ------------------------------------------------------------------------------------------------ errors on the wire

# What each code of the protocol means, and whether it is definite: the request has not happened and never will.
ERROR_CODES = {
    0: ("timeout", False),
    1: ("node-not-found", True),
    10: ("not-supported", True),
    11: ("temporarily-unavailable", True),
    12: ("malformed-request", True),
    13: ("crash", False),
    14: ("abort", True),
    20: ("key-does-not-exist", True),
    21: ("key-already-exists", True),
    22: ("precondition-failed", True),
    30: ("txn-conflict", True),
}


@message
class Error:
    """The answer that refuses a request; ``await ctx.rpc(...)`` raises it as `RequestFailed`.

    Args:
        code: one of `ERROR_CODES`, or 1000 and above for your own.
        text: one sentence for the reader.
    """

    code: int
    text: str = ""


class RequestFailed(Exception):
    """The other side answered a request with an `Error`.

    ``definite`` says whether the request surely has not happened; any code of your own may have.
    """

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code, self.text = code, text
        self.name, self.definite = ERROR_CODES.get(code, ("error", False))

    def __str__(self) -> str:
        return f"{self.name} (code {self.code}){': ' if self.text else ''}{self.text}"
