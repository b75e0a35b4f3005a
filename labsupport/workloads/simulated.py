"""A workload in the simulated world: the same steps and checks, in virtual time, and the same again from a seed."""

from __future__ import annotations

import dataclasses

from labsupport.checkers.finding import Finding
from labsupport.faults import Faults
from labsupport.history import Ending, History
from labsupport.messages import RequestFailed, body, from_body
from labsupport.node import Context, Node
from labsupport.sim.world import World
from labsupport.workloads import Setting, workload
from labsupport.workloads.workload import CRASH, Attempt, Seat, Step, Workload

US = 1_000_000  # the simulated world counts microseconds


@dataclasses.dataclass
class Simulated:
    """A run that is over.

    Args:
        finding: what the workload's check says.
        world: in which it happened; its trace shows how.
    """

    finding: Finding
    world: World

    @property
    def history(self) -> History:
        """What the clients asked and were told, times in microseconds."""
        return self.world.trace.history()

    def __bool__(self) -> bool:
        return bool(self.finding)


def simulate(
    kind: type[Node],
    name: str,
    setting: Setting | None = None,
    *,
    faults: Faults | None = None,
    rate: float = 10.0,
    time_limit_s: float = 10.0,
    recovery_s: float = 10.0,
) -> Simulated:
    """Run a workload against a `Node` class in a simulated world.

    Args:
        kind: the class, with @message classes for the requests of the workload and its own answers.
        name: of the workload.
        setting: the nodes, the number of clients, the seed and more.
        faults: what may go wrong until the time limit; then everything heals.
        rate: operations per virtual second of all clients together, on average.
        time_limit_s: how long the clients work.
        recovery_s: how long the nodes are left alone before the final steps.

    Raises:
        RunFailed: a handler of a node raised an exception.

    A node that restarts is not greeted again: what it was told it has to save.
    """
    setting = Setting() if setting is None else setting
    chosen = workload(name, setting)
    gap_s, final_s = setting.concurrency / rate, time_limit_s + recovery_s
    clients = {
        f"c{number + 1}": _client(chosen, number, gap_s, time_limit_s, final_s) for number in range(setting.concurrency)
    }
    faults = dataclasses.replace(faults or Faults(), until_s=time_limit_s)
    world = World(dict.fromkeys(setting.nodes, kind), seed=setting.seed, faults=faults, clients=clients)
    most_s = final_s + max(chosen.final_limit_s, 0) + 10 * chosen.timeout_s
    world.run(most_s)
    final_from = final_s * US if chosen.ends_with_reads else None
    return Simulated(chosen.check(world.trace.history(), final_from), world)


def _client(chosen: Workload, number: int, gap_s: float, time_limit_s: float, final_s: float) -> type[Node]:
    """The class of one client; the workload is one for all of them, made anew for each run."""
    setting = chosen.setting
    nodes = setting.nodes

    class WorkloadClient(Node):
        async def on_start(self, ctx: Context) -> None:
            seat = Seat(number, nodes[number % len(nodes)], ctx.me)
            for node in nodes[number :: setting.concurrency]:
                greeting = chosen.greeting(node)
                if greeting is not None:
                    await _carry(Attempt(chosen, greeting, Seat(number, node, ctx.me)), ctx)
            while True:
                await ctx.sleep(ctx.random.uniform(0, 2 * gap_s))
                if ctx.now() >= time_limit_s:
                    break
                step = chosen.step(seat)
                chosen.heard(step, await _perform(chosen, step, seat, ctx))
            if not chosen.ends_with_reads:
                return
            await ctx.sleep(max(final_s - ctx.now(), 0))
            for step in chosen.final_steps(seat):
                if chosen.final_limit_s and ctx.now() > final_s + chosen.final_limit_s:
                    break
                await _perform(chosen, step, seat, ctx)
                await ctx.sleep(chosen.final_pause_s)

    return WorkloadClient


async def _perform(chosen: Workload, step: Step, seat: Seat, ctx: Context) -> Attempt:
    """One step, from its first request to its ending; on the record."""
    attempt = Attempt(chosen, step, seat)
    number = None if step.kind == CRASH else ctx.call(step.kind, step.key, step.value)
    await _carry(attempt, ctx)
    if number is not None and attempt.ending is Ending.OK:
        ctx.returned(number, attempt.result)
    elif number is not None and attempt.ending is Ending.FAILED:
        ctx.refused(number)
    elif number is not None:
        ctx.gave_up(number)
    if attempt.ending is Ending.UNKNOWN:
        seat.sit(ctx.me)
    return attempt


async def _carry(attempt: Attempt, ctx: Context) -> None:
    while attempt.request is not None:
        try:
            reply = await ctx.rpc(attempt.node, from_body(attempt.request), attempt.workload.timeout_s)
        except (TimeoutError, RequestFailed) as error:
            attempt.failed(error)
        else:
            attempt.answered(body(reply))
