"""Histories that other tools wrote: Jepsen's and Maelstrom's EDN, and the logs that Porcupine reads.

The clock of the history read is the place of each event in its file, which is the order its recorder saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from labsupport.checkers import edn
from labsupport.errors import LearnerError
from labsupport.history import History, Recorder

_LOG_LINE = re.compile(r"INFO\s+jepsen\.util\s+-\s+(\d+)\s+:(invoke|ok|fail|info)\s+:(\S+)\s+(.*)$")


def from_jepsen(text: str, *, independent: bool = False, failed_cas_looks: bool = False) -> History:
    """A history that Jepsen or Maelstrom wrote as `history.edn`.

    Args:
        text: maps with :process, :type, :f and :value, one after the other or in one vector.
        independent: values are pairs of a key and a value, as in Maelstrom's lin-kv.
        failed_cas_looks: a cas of type :fail was refused because of the value it found (result False). Jepsen itself
            reads :fail as "certainly had no effect", for whatever reason.

    Raises:
        LearnerError: the text cannot be read.

    >>> list(from_jepsen('''
    ... {:process 0, :type :invoke, :f :write, :value ["x" 3]}
    ... {:process 1, :type :invoke, :f :read,  :value ["x" nil]}
    ... {:process 0, :type :info,   :f :write, :value ["x" 3], :error :timeout}
    ... {:process 1, :type :ok,     :f :read,  :value ["x" 3]}''', independent=True))
    [0: write(x, 3) -> ? [0, ..., 1: read(x) -> 3 [1, 3]]
    """
    events = edn.read_all(text)
    if len(events) == 1 and isinstance(events[0], list):
        events = events[0]
    return _from_events(events, independent=independent, failed_cas_looks=failed_cas_looks)


def from_porcupine(text: str) -> History:
    """A history in one of the forms of Porcupine's test data: a log of `jepsen.util`, or lines of EDN maps.

    In them a cas of type :fail has compared and refused, and operations on different keys have :key.

    >>> list(from_porcupine('''
    ... INFO  jepsen.util - 0 :invoke :cas [1 2]
    ... INFO  jepsen.util - 0 :fail   :cas [1 2]
    ... INFO  jepsen.util - 0 :invoke :read nil
    ... INFO  jepsen.util - 0 :fail   :read :timed-out'''))
    [0: cas(1, 2) -> False [0, 1], 0: read() -> failed [2, 3]]
    """
    lines = [match.groups() for match in map(_LOG_LINE.search, text.splitlines()) if match]
    if not lines:
        return from_jepsen(text, failed_cas_looks=True)
    events = []
    for process, kind, what, value in lines:
        events.append({"process": int(process), "type": kind, "f": what, "value": edn.read_all(value)[0]})
    return _from_events(events, independent=False, failed_cas_looks=True)


def _from_events(events: Iterable[Any], *, independent: bool, failed_cas_looks: bool) -> History:
    recorder, running = Recorder(), {}
    for moment, event in enumerate(events):
        if not isinstance(event, Mapping) or not {"process", "type", "f"} <= set(event):
            raise LearnerError(
                f"Event {moment} of the history is {str(event)[:80]!r}.",
                do="give maps with :process, :type, :f and :value",
            )
        process, kind, value = event["process"], event["f"], event.get("value")
        if not isinstance(process, int):
            continue  # the nemesis
        if event["type"] == "invoke":
            key = event.get("key")
            if independent:
                key, value = value
            running[process] = (recorder.call(process, kind, key=key, value=value, at=moment), kind, value)
            continue
        if process not in running:
            raise LearnerError(f"Event {moment} of the history answers a request that was not made: {event}.")
        number, kind, asked = running.pop(process)
        if independent and isinstance(value, list) and len(value) == 2:
            value = value[1]
        if event["type"] == "ok":
            result = True if kind == "cas" else value
            recorder.ok(number, None if result == asked and kind not in ("cas", "read", "txn") else result, at=moment)
        elif event["type"] == "fail" and kind == "cas" and failed_cas_looks and not event.get("error"):
            recorder.ok(number, False, at=moment)
        elif event["type"] == "fail":
            recorder.failed(number, at=moment)
    return recorder.history()
