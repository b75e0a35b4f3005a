"""A notebook's kernel without Jupyter's sockets: an IPython shell in a forked process that reads cells from a pipe.

It runs in the sandbox. One JSON line ``{"cell": NAME, "source": TEXT}`` on standard input is one cell to run; one JSON
line on the report pipe is what came of it: ``{"outputs": [...], "failed": null | {"kind", "message", "frames"}}``, the
outputs in nbformat's form. What the cell prints goes to standard output.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import JSON
from traitlets.config import Config

from labsupport.exercises.answer import Answer
from labsupport.exercises.host import learner_frames

FROM_HERE = f"__import__({__name__!r}, fromlist=['serve'])"


class Kept(DisplayHook):
    """The value of a cell's last line becomes an output instead of being printed."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        output = {"output_type": "execute_result", "execution_count": None, "metadata": md_dict or {}}
        self.shell.outputs.append({**output, "data": format_dict})

    def finish_displayhook(self) -> None:
        pass


class Published(DisplayPublisher):
    """What a cell displays becomes an output."""

    def publish(self, data: dict[str, Any], metadata: dict[str, Any] | None = None, **more: Any) -> None:
        output = {"output_type": "display_data", "metadata": metadata or {}, "data": data}
        self.shell.outputs.append(output)


class Shell(InteractiveShell):
    """IPython's shell without history, colours and tracebacks of its own."""

    outputs: list[dict[str, Any]]

    def __init__(self) -> None:
        self.outputs = []
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        super().__init__(config=config, displayhook_class=Kept, display_pub_class=Published)
        self.showtraceback = self.showsyntaxerror = lambda *_args, **_more: None  # the report has it

    system = InteractiveShell.system_raw  # the other one wants a terminal

    def enable_gui(self, gui: Any = None) -> None:
        """There is no window here."""

    def run(self, name: str, source: str) -> dict[str, Any]:
        """Run one cell; the answer is what goes on the report pipe."""
        self.outputs = []
        self.compile.get_code_name = lambda *_: f"<{name}>"
        result = self.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        failed = error and {"kind": type(error).__name__, "message": str(error), "frames": learner_frames(error)}
        return {"outputs": self.outputs, "failed": failed}


def shell() -> Shell:
    """The shell of this process, made at the first call."""
    return Shell.instance()


def warm() -> None:
    """Do once what every kernel does, so that what is made at the first time is there when kernels are forked.

    Nothing of it may open a file or a loop: forked processes close what they have not been given.
    """
    here = shell()
    here.run("warm", "def warm(): pass\nwarm")
    here.run("warm", f"{FROM_HERE}.packed(['warm'])")
    here.reset(new_session=False)


def packed(takes: Sequence[str]) -> JSON:
    """In a cell: the objects of these names, as an answer's bytes in base64, or what is wrong with them.

    Returns:
        What shows itself as ``{"data": …}``, or as ``{"lacking": {NAME: TYPE}}``: the type of what is not callable, ""
        of what is not there.
    """
    names = shell().user_ns
    there = {name: type(names[name]).__name__ for name in takes if name in names and not callable(names[name])}
    lacking = {name: there.get(name, "") for name in takes if name not in names or name in there}
    if lacking:
        return JSON({"lacking": lacking})
    return JSON({"data": base64.b64encode(Answer.of(takes, [names[name] for name in takes]).data).decode()})


def serve(report: int) -> int:
    """Run cells until standard input ends."""
    here = shell()
    with os.fdopen(report, "w", encoding="utf-8", errors="replace") as stream:
        for line in sys.stdin.buffer:
            order = json.loads(line)
            told = here.run(order["cell"], order["source"])
            sys.stdout.flush()
            sys.stderr.flush()
            stream.write(json.dumps(told, default=repr) + "\n")
            stream.flush()
    return 0
