"""What an answer may look like: exactly the fields that the protocol names, no other, each of its kind.

Maelstrom does so too: a field with a slip of the pen in its name must not pass for a missing one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

MOST_SHOWN = 400  # characters of a body in a sentence


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a field may hold: in words, as an example of JSON, and as a test."""

    words: str
    example: str
    holds: Callable[[Any], bool]


Fields = Mapping[str, Kind]


def is_integer(value: Any) -> bool:
    """Whether it is an integer of JSON; in Python, true is one too."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Whether it is a list, or null, which some languages write for an empty one; Maelstrom accepts it too."""
    return value is None or isinstance(value, list)


def _is_integers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_integer, value.values()))


def _is_messages(value: Any) -> bool:
    def is_pairs(pairs: Any) -> bool:
        return is_list(pairs) and all(
            isinstance(pair, list) and len(pair) == 2 and is_integer(pair[0]) for pair in pairs or ()
        )

    return isinstance(value, dict) and all(map(is_pairs, value.values()))


def _is_steps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(step, list) and len(step) == 3 for step in value)


ANYTHING = Kind("any JSON", "...", lambda value: True)
INTEGER = Kind("an integer", "7", is_integer)
LIST = Kind("a list", "[1, 2]", is_list)
OFFSETS = Kind("an object of integers", '{"k": 7}', _is_integers)
MESSAGES = Kind("an object of lists of pairs [offset, message]", '{"k": [[7, "a"]]}', _is_messages)
STEPS = Kind("a list of triples", '[["r", 1, [2]]]', _is_steps)


class MalformedReply(Exception):
    """An answer does not have the form of the protocol."""


def check_reply(request: dict[str, Any], reply: dict[str, Any], replies: Mapping[str, Fields], node: str) -> None:
    """Compare an answer with what the protocol wants.

    Args:
        request, reply: the two bodies.
        replies: the fields of each answer, by the type of the request.
        node: who answered.

    Raises:
        MalformedReply: it has another form; says how, and which form was wanted.

    >>> check_reply({"type": "add"}, {"type": "add_ok", "value": 1}, {"add": {}}, "n1")
    Traceback (most recent call last):
    labsupport.workloads.replies.MalformedReply: n1 answered {"type": "add"} with {"type": "add_ok", "value": 1}: \
the field "value" is not known. Wanted: {"type": "add_ok"}.
    """
    fields = replies[request["type"]]
    wanted_type = f"{request['type']}_ok"
    wrong = []
    if reply.get("type") != wanted_type:
        wrong.append(f"its type is {_shown(reply.get('type'))}")
    wrong += [f'it lacks the field "{name}"' for name in fields if name not in reply]
    known = {"type", "msg_id", "in_reply_to", *fields}
    wrong += [f'the field "{name}" is not known' for name in reply if name not in known]
    for name, kind in fields.items():
        if name in reply and not kind.holds(reply[name]):
            wrong.append(f"{name} is {_shown(reply[name])}")
    if reply.get("msg_id") is not None and not is_integer(reply["msg_id"]):
        wrong.append(f"msg_id is {_shown(reply['msg_id'])}")
    if wrong:
        example = ", ".join(
            [f'"type": "{wanted_type}"', *(f'"{name}": {kind.example}' for name, kind in fields.items())]
        )
        where = " and ".join(f"{name} is {kind.words}" for name, kind in fields.items())
        told = {name: value for name, value in reply.items() if name != "in_reply_to"}
        raise MalformedReply(
            f"{node} answered {_shown(request)} with {_shown(told)}: {'; '.join(wrong)}. "
            f"Wanted: {{{example}}}{', where ' if where else ''}{where}."
        )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
