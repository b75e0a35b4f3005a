"""What is to be explored: node class, sizes, clients and properties; each run of it is made from a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from labsupport.faults import Faults
from labsupport.node import Node
from labsupport.sim.properties import Property
from labsupport.sim.steps import Steps
from labsupport.sim.world import World


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A cluster whose runs are searched.

    Args:
        kind: the node class, or one class for each name.
        nodes: the sizes to try.
        clients: classes of clients by name.
        properties: what must hold.
        sometimes: notes of which each must appear in some run, or the search has proved nothing.
    """

    kind: type[Node] | Mapping[str, type[Node]]
    nodes: Sequence[int] = (3, 5)
    clients: Mapping[str, type[Node]] = dataclasses.field(default_factory=dict)
    properties: Sequence[Callable[[], Property]] = ()
    sometimes: Sequence[str] = ()

    def world(self, seed: int, nodes: int, faults: Faults, record: bool = True) -> World:
        """A world in virtual time."""
        given = {"clients": self.clients, "properties": self.properties}
        return World(self.kind, nodes=nodes, seed=seed, faults=faults, record=record, **given)

    def steps(self, seed: int, nodes: int, clients: bool = True) -> Steps:
        """A world that is led step by step."""
        return Steps(self.kind, nodes, self.clients if clients else {}, seed, self.properties)

    @property
    def kinds(self) -> list[type[Node]]:
        """All node classes."""
        own = self.kind.values() if isinstance(self.kind, Mapping) else [self.kind]
        return list(dict.fromkeys([*own, *self.clients.values()]))
