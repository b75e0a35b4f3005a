"""The same seeds once more, in a process whose sets are in another order.

Text is hashed with a secret that each process draws anew, so ``for peer in {"n1", "n2"}`` goes one way here and
another way there. Within one process every run of a seed agrees; only a second process shows that a node depends on it.
``python -m labsupport.rerun`` is that process: it reads a pickled scenario, and writes the digest of each run.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable

from labsupport.errors import LearnerError
from labsupport.messages import KNOWN, learners
from labsupport.sim import swarm
from labsupport.sim.scenario import Scenario
from labsupport.trace import Trace

SEEDS = 4
EVENTS = 300  # of each run; a set that is walked through is walked through soon
_PATIENCE_S = 20.0  # the other process takes half a second


class Rerun:
    """Begins at once, beside whatever its owner does next; ends with the `with` block.

    Args:
        scenario: what to run.
        seed: the first of the seeds.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario, self._seeds = scenario, range(seed, seed + SEEDS)
        self._process: subprocess.Popen | None = None
        self._sent = _packed(scenario, self._seeds)

    def __enter__(self) -> Rerun:
        with contextlib.suppress(OSError):  # no more processes may be started here
            self._begin()
        return self

    def _begin(self) -> None:
        if self._sent is not None:
            order = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "labsupport.rerun"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONHASHSEED": order, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(self._sent)
                self._process.stdin.close()
            self._process.stdin = None  # `communicate` would write to it

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def compare(self) -> None:
        """Wait for the other process. If it could not run the scenario, nothing is said: then nothing is known.

        Raises:
            LearnerError: a run was different there.
        """
        there = self._answer()
        for seed, (digest, lines) in zip(self._seeds, there, strict=False):
            trace = _run(self._scenario, seed)
            if trace.digest() == digest:
                continue
            here = str(trace).splitlines()
            place = next((i for i, pair in enumerate(zip(here, lines, strict=False)) if pair[0] != pair[1]), 0)
            raise LearnerError(
                f"Seed {seed} gives another run in another process, from event {place} on. "
                f"Here: {here[place].strip()}. There: {lines[place].strip()}.",
                cause="the order of a set of texts, which each process chooses for itself; or hash() or id()",
                do="walk through sets with sorted(...), or use a list or a dict, which keep their order",
            )

    def _answer(self) -> list[tuple[str, list[str]]]:
        if self._process is None:
            return []
        try:
            written, _ = self._process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return []
        return pickle.loads(written) if self._process.returncode == 0 else []


def _run(scenario: Scenario, seed: int) -> Trace:
    world, _ = swarm.run(scenario, seed, EVENTS, calm=False)
    # The text of an exception shows a line of the source, which the other process does not have.
    records = [record for record in world.trace.records if record[1] != "error"]
    trace = Trace(world.hosts, records, seed)
    world.discard()
    return trace


def _packed(scenario: Scenario, seeds: range) -> bytes | None:
    """The scenario by value; None if it holds something that cannot leave this process."""
    try:
        import cloudpickle
    except ImportError:
        return None
    with _by_value(cloudpickle, [*scenario.kinds, *scenario.properties, *learners().values()]):
        try:
            return cloudpickle.dumps((scenario, learners(), seeds))
        except Exception:  # pickling runs arbitrary code of what it pickles
            return None


@contextlib.contextmanager
def _by_value(cloudpickle, things: Iterable[object]):
    bases = [base for thing in things for base in getattr(thing, "__mro__", (thing,))]
    names = {base.__module__ for base in bases} - set(cloudpickle.list_registry_pickle_by_value())
    ours = [name for name in names if name.split(".")[0] not in {"labsupport", "__main__", *sys.stdlib_module_names}]
    modules = [sys.modules[name] for name in sorted(ours) if name in sys.modules]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def main() -> None:
    """Answer one question and end."""
    answer, sys.stdout = sys.stdout.buffer, io.StringIO()  # what nodes print is nobody's business here
    scenario, messages, seeds = pickle.load(sys.stdin.buffer)
    KNOWN.update(messages)
    traces = [_run(scenario, seed) for seed in seeds]
    answer.write(pickle.dumps([(trace.digest(), str(trace).splitlines()) for trace in traces]))
    answer.flush()


if __name__ == "__main__":
    main()
