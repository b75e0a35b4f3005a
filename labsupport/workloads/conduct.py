"""From a program and the name of a workload to results: start the cluster, run, heal, judge."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from labsupport.cluster.cluster import Cluster
from labsupport.cluster.report import NodeCrashed
from labsupport.errors import ServiceError, disk_errors_explained
from labsupport.faults import Faults, Link
from labsupport.workloads import Setting, workload
from labsupport.workloads.results import Record, results
from labsupport.workloads.running import RECOVERY_S, Running
from labsupport.workloads.strokes import plan

CALM = Link(delay_ms=0.0, distribution="constant", least_ms=0.0)


@dataclasses.dataclass
class Conducted:
    """A run that is over.

    Args:
        results: a JSON object, see `labsupport.workloads.results.results`.
        record: what it was made from.
        logs: what each node wrote to standard error.
    """

    results: dict[str, Any]
    record: Record
    logs: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def valid(self) -> bool | str:
        """True, False or "unknown"."""
        return self.results["valid"]

    def keep(self, directory: pathlib.Path) -> None:
        """Write results.json, history.jsonl and node-logs/NAME.log.

        Raises:
            SetupError: the disk is full, or the directory cannot be written.
        """
        with disk_errors_explained("keeping the results", directory):
            (directory / "node-logs").mkdir(parents=True, exist_ok=True)
            (directory / "results.json").write_text(json.dumps(self.results, indent=2), "utf-8")
            lines = [json.dumps(row) + "\n" for row in self.record.history.as_json()]
            (directory / "history.jsonl").write_text("".join(lines), "utf-8")
            for name, log in self.logs.items():
                (directory / "node-logs" / f"{name}.log").write_text(log, "utf-8")


def conduct(
    program: Any,
    name: str,
    setting: Setting | None = None,
    *,
    rate: float = 5.0,
    time_limit_s: float = 60.0,
    link: Link = CALM,
    nemesis: Iterable[str] = (),
    nemesis_interval_s: float = 10.0,
    availability: float | None = None,
    recovery_s: float = RECOVERY_S,
    tell: Callable[[str], None] = lambda words: None,
) -> Conducted:
    """Run a workload against real processes.

    Args:
        program: a `Node` class, or a program that speaks Maelstrom's protocol, see `labsupport.cluster`.
        name: of the workload.
        setting: the nodes, the number of clients, the seed and more.
        rate: operations per second of all clients together; 0 for none.
        time_limit_s: how long the clients work.
        link: the delays and losses between nodes.
        nemesis: faults, of `strokes.FAULTS`.
        nemesis_interval_s: how long a fault stays on, and off, on average.
        availability: the share of operations that have to succeed; None: any.
        recovery_s: how long the cluster is left alone before the final reads.
        tell: called with a few words whenever a new part begins.

    Raises:
        LearnerError, SetupError: what was asked for cannot be done. A node that does not start is a result, no error.
    """
    setting = Setting() if setting is None else setting
    chosen = workload(name, setting)
    strokes = plan(nemesis, setting.nodes, nemesis_interval_s, time_limit_s, setting.seed)
    cluster = Cluster(program, setting.nodes, seed=setting.seed, faults=Faults(link=link), trace=False)
    running = Running(
        chosen, cluster, rate=rate, time_limit_s=time_limit_s, strokes=strokes, recovery_s=recovery_s, tell=tell
    )
    record = running.record
    try:
        with cluster:
            running.run()
    except (NodeCrashed, ServiceError) as error:  # a node that does not start is a finding about it
        record.broken.append(str(error))
    record.broken = list(dict.fromkeys([*record.broken, *map(str, cluster.crashed.values())]))
    record.problems = [*chosen.remarks, *cluster.problems]
    record.counts = {group: cluster.counts[group] for group in ("all", "clients", "servers")}
    logs = {node: cluster.logs(node) for node in setting.nodes}
    tell("the clients are done; looking at what they saw")
    return Conducted(results(chosen, record, availability), record, logs)
