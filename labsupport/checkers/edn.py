"""A reader of EDN, the notation that Jepsen and Maelstrom write histories in.

Source: the EDN format, https://github.com/edn-format/edn. Keywords and symbols become strings, vectors and lists become
lists, sets become Python lists too (their members may be maps); a tag is dropped and its value kept.
"""

from __future__ import annotations

import re
from typing import Any

from labsupport.errors import LearnerError

_TOKEN = re.compile(
    r"""[\s,]*(?:;[^\n]*\n?[\s,]*)*            # blanks, commas and comments
    (?:(?P<text>"(?:[^"\\]|\\.)*")
     | (?P<open>\#?\{|\[|\()
     | (?P<close>[}\])])
     | (?P<discard>\#_)
     | (?P<tag>\#[A-Za-z][\w.*+!?/<>=-]*)
     | (?P<char>\\(?:newline|space|tab|return|u[0-9A-Fa-f]{4}|.))
     | (?P<word>[^\s,;"{}\[\]()]+)
     | (?P<end>$))""",
    re.VERBOSE,
)
_CLOSES = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS = {"nil": None, "true": True, "false": False}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_INTEGER = re.compile(r"[+-]?\d+N?$")
_FLOAT = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?$")


def read_all(text: str) -> list[Any]:
    """All values in the text, one after the other.

    >>> read_all('{:f :cas, :value [1 2]} nil #{3} "a\\\\"b"')
    [{'f': 'cas', 'value': [1, 2]}, None, [3], 'a"b']
    """
    # A stack instead of recursion: a history is one vector of many maps, and values may nest deeply.
    stack: list[tuple[str, list[Any], list[str]]] = [("", [], [])]
    place = 0
    while True:
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            raise _unreadable(text, place, "this is not EDN")
        token, kind, place = match[match.lastgroup], match.lastgroup, match.end()
        opened, values, prefixes = stack[-1]
        if kind == "end":
            if opened:
                raise _unreadable(text, place, f"{opened} is never closed")
            return values
        if kind in ("tag", "discard"):
            prefixes.append(kind)
        elif kind == "open":
            stack.append((token, [], []))
        else:
            if kind == "close":
                if _CLOSES.get(opened) != token:
                    raise _unreadable(text, place, f"{token} closes nothing")
                stack.pop()
                value = _map(values, text, place) if opened == "{" else values
                _, values, prefixes = stack[-1]
            else:
                value = _atom(kind, token)
            if "discard" in prefixes:
                prefixes.remove("discard")
            else:
                values.append(value)
                prefixes.clear()


def _map(values: list[Any], text: str, place: int) -> dict:
    if len(values) % 2:
        raise _unreadable(text, place, "a map needs a value for each key")
    return {_hashable(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _hashable(key: Any):
    return tuple(map(_hashable, key)) if isinstance(key, list) else key


def _atom(kind: str, token: str) -> Any:
    if kind == "text":
        return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", _unescaped, token[1:-1], flags=re.DOTALL)
    if kind == "char":
        return {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}.get(token[1:], token[1:])
    if token in _WORDS:
        return _WORDS[token]
    if _INTEGER.match(token):
        return int(token.rstrip("N"))
    if _FLOAT.match(token):
        return float(token.rstrip("M"))
    return token.removeprefix(":")


def _unescaped(match: re.Match) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)


def _unreadable(text: str, place: int, why: str) -> LearnerError:
    line = text.count("\n", 0, place) + 1
    near = text[max(0, place - 20) : place + 20].strip()
    return LearnerError(f"Line {line} of the history cannot be read, near {near!r}: {why}.", do="give a file of EDN")
