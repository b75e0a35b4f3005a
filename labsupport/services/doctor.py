"""Which of the course's systems work on this machine: found where, which version, started in how many milliseconds.

``doctor()`` shows it in a notebook, ``python3 -m labsupport doctor [--json]`` in a terminal.
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from labsupport import environment
from labsupport.environment import programs
from labsupport.errors import LabError
from labsupport.services import sources

HEADINGS = ("System", "State", "Version", "Found", "Ready in", "Lessons", "To know, to do")


@dataclass(frozen=True)
class SystemReport:
    """What is known about one system.

    Attributes:
        system: its name.
        ok: it was found, and it answered if it was started; or it comes at its first use.
        version: the version found, "" if none or unknown.
        source: "PATH", the wheel it came in, "Maven Central", or the environment variable with its address; "" when it
            was not found, or will be fetched at its first use.
        ready_ms: how long it took until it answered; None when it was not started or did not answer.
        needs: the lessons that need it.
        error: what is wrong, or "".
        do: what to do about it, or "".
        note: something to know all the same, or "".
    """

    system: str
    ok: bool
    version: str
    source: str
    ready_ms: float | None
    needs: tuple[str, ...]
    error: str = ""
    do: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "ok": self.ok,
            "version": self.version,
            "source": self.source,
            "ready_ms": None if self.ready_ms is None else round(self.ready_ms, 1),
            "needs": list(self.needs),
            "error": "\n".join(filter(None, [self.error, self.do])),
        }

    def cells(self) -> tuple[str, ...]:
        """The words of one line of the table, as in `HEADINGS`."""
        if self.ok:
            state = "ready" if self.ready_ms is not None else "found" if self.source else "comes at first use"
        else:
            state = "broken" if self.source else "missing"
        ready = f"{self.ready_ms:.0f} ms" if self.ready_ms is not None else "–"
        advice = f"{self.error} → {self.do}" if self.error and self.do else self.error or self.note or "nothing"
        return self.system, state, self.version or "–", self.source or "–", ready, ", ".join(self.needs), advice


def report(start: bool = True, tell: Callable[[str], None] = lambda _: None) -> list[SystemReport]:
    """Look for every system and, unless `start` is False, start each once and stop it again.

    Args:
        start: whether to start them.
        tell: called with the name of the system that is looked at next.
    """
    found = []
    for system, pin in sources.PINS.items():
        tell(pin.title)
        found.append(_examine(system, pin, start))
    return [*found, _examine_thrift()]


def _examine_thrift() -> SystemReport:
    """Thrift has nothing to start: a library, and a compiler that can be done without."""
    from labsupport.services import thrift

    title, needs = "Thrift", ("03",)
    if compiler := thrift.compiler():
        return SystemReport(title, True, compiler.version, compiler.source, None, needs)
    note = (
        "its compiler is not here: definitions are read all the same (by thriftpy2), but the text that it writes "
        f"cannot be looked at; to have it, run: {programs.install_line([programs.THRIFT])}"
    )
    here = environment.has("thrift")
    return SystemReport(
        title, True, metadata.version("thrift") if here else "", "thriftpy2" if here else "", None, needs, note=note
    )


def _examine(system: str, pin: sources.Pin, start: bool) -> SystemReport:
    version, source = "", ""
    try:
        if sources.addresses(system):
            source = pin.variable
        elif coming := sources.to_come(system):
            note = f"its first start fetches {coming}; to have it now, run: {sys.executable} -m labsupport fetch"
            return SystemReport(pin.title, True, pin.version, "", None, pin.lessons, note=note)
        else:
            program = sources.program(system)
            version, source = program.version, program.source
        if start:
            with _class_of(system)() as service:
                note = pin.note if service.title != pin.title else ""
                return SystemReport(pin.title, True, version, source, service.ready_ms, pin.lessons, note=note)
        return SystemReport(pin.title, True, version, source, None, pin.lessons)
    except LabError as error:
        what = f"{error.what} {error.cause}".strip()
        return SystemReport(pin.title, False, version, source, None, pin.lessons, what, error.do)


def _class_of(system: str) -> type:
    from labsupport import services

    kinds = (getattr(services, name) for name in services.__all__)
    return next(kind for kind in kinds if vars(kind).get("system") == system)


class Checkup(list):
    """The reports of all systems, shown as a table: text, or HTML in a notebook."""

    def __repr__(self) -> str:
        rows = [HEADINGS, *(each.cells() for each in self)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="text-align:left">{html.escape(word)}</th>' for word in HEADINGS)
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(word)}</td>' for word in each.cells()) + "</tr>"
            for each in self
        )
        ready = sum(each.ok for each in self)
        caption = f'<caption style="text-align:left">{ready} of {len(self)} systems are ready</caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def doctor(start: bool = True) -> Checkup:
    """Look for every system of the course, start each once, and show a table of what works and what each lesson needs.

    Args:
        start: False to look only.

    >>> doctor()                                                  # doctest: +SKIP
    """
    return Checkup(report(start))


def main(args: Any) -> int:
    """The command: a table, or with ``args.json`` one JSON document; 0 if every system is ready."""
    found = report(tell=lambda title: print(f"looking at {title} …", file=sys.stderr))
    if args.json:
        print(json.dumps({"systems": [each.as_json() for each in found]}, indent=1))
    else:
        _print_table(found)
    return 0 if all(each.ok for each in found) else 1


def _print_table(found: list[SystemReport]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEADINGS[:-1], box=box.SIMPLE)
    for each in found:
        table.add_row(*each.cells()[:-1])
    Console().print(table)
    for each in found:
        if each.error or each.note:
            print(f"{each.system}: {each.cells()[-1]}")  # outside of the table, so that a command can be copied whole
