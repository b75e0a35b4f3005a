"""What must always hold in a run, checked while it runs; and what it means that something does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labsupport.node import Node
    from labsupport.sim.core import Core


class Property:
    """Something that must hold. Each run gets a fresh object, so that it can remember what it has seen.

    Override what is needed; each method returns "" while all is well, or a sentence that says what is wrong.

    Attributes:
        hears: the notes that `heard` is to be called for; also "call" and "return", for the operations of clients.
    """

    hears: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How it is called in reports."""
        return type(self).__name__

    def heard(self, world: Core, node: str, what: str, facts: dict[str, Any]) -> str:
        """Called when a node notes something (`Context.note`) or an operation begins or ends."""
        return ""

    def after(self, world: Core, name: str, node: Node | None) -> str:
        """Called after each event with the node where it happened; None if it is down."""
        return ""

    def calmed(self, world: Core) -> None:
        """Called when the faults of a world end: from here on something good has to happen (liveness)."""

    def at_end(self, world: Core) -> str:
        """Called when a run is over."""
        return ""


class Violated(BaseException):
    """A property does not hold; ends the run. Not an Exception, so that learners' code lets it pass.

    Args:
        name: the property; for an exception in a handler, the exception's type and where it came from.
        sentence: what is wrong.
        error: the exception, if that is what ended the run.
    """

    def __init__(self, name: str, sentence: str, error: BaseException | None = None) -> None:
        super().__init__(name, sentence)
        self.name, self.sentence, self.error = name, sentence, error

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"
