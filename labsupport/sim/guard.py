"""While a world runs, learners' code cannot reach the real world behind its back: clocks, sleeps, chance, threads.

The functions in question are replaced for the time of the run, in their modules and where a learner has imported them
by name. Only calls that stand in a learner's own module, in the thread that runs the world, are refused; all others,
such as those that `print` makes in a notebook, reach the real function.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from _thread import get_ident  # to tell threads apart; none is started here
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from labsupport.errors import LearnerError

_SLEEP = "await ctx.sleep(seconds) in an `async def` handler, or use ctx.set_timer(name, seconds) and on_timer"
_CLOCK = "use ctx.now(), this node's clock in the simulation and in a real process"
_CHANCE = "use ctx.random, which draws from the run's seed, for example ctx.random.uniform(0.15, 0.3)"
_WAIT = "return from the handler; the next message or timer calls the node again"
_OUTSIDE = "send messages with ctx.send and keep data with ctx.save; a node has no other way out"

# What is forbidden, and what to use instead; a module that nobody has imported is not imported for this.
FORBIDDEN = {
    "time": {
        **dict.fromkeys(["sleep"], _SLEEP),
        **dict.fromkeys(["time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"], _CLOCK),
    },
    "random": dict.fromkeys(
        ["random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "expovariate", "gauss"],
        _CHANCE,
    ),
    "uuid": dict.fromkeys(["uuid1", "uuid4"], "build ids from ctx.me and a counter, or from ctx.random"),
    "secrets": dict.fromkeys(["token_hex", "token_bytes", "randbelow", "choice"], _CHANCE),
    "os": {"urandom": _CHANCE, "system": _OUTSIDE},
    "asyncio": {
        "sleep": _SLEEP,
        **dict.fromkeys(["gather", "create_task", "wait_for", "wait", "run"], "use ctx.spawn and await ctx.rpc"),
    },
    "socket": {"create_connection": _OUTSIDE},
    "subprocess": {"run": _OUTSIDE, "check_output": _OUTSIDE},
    "builtins": {"input": _WAIT, "open": _OUTSIDE},
}

# A trace is made of hundreds of thousands of small tuples that all stay alive, and the collector of cyclic garbage
# would walk through them again and again: that took half of a run's time.
_UNDISTURBED = 500_000

_depth = 0  # worlds within worlds: only the outermost one replaces and restores


@contextlib.contextmanager
def watching(hosts: Iterable[Any]) -> Iterator[None]:
    """Forbid what is forbidden as long as this lasts, and keep the garbage collector from getting in the way.

    Args:
        hosts: whose node classes' modules are looked through for names imported from the forbidden modules.
    """
    global _depth
    if _depth:
        yield
        return
    _depth = 1
    changed: list[tuple[dict, str, Any]] = []
    thresholds = gc.get_threshold()
    gc.set_threshold(_UNDISTURBED, *thresholds[1:])
    try:
        _replace([kind for host in hosts for kind in host.kind.__mro__], changed)
        yield
    finally:
        for space, name, real in reversed(changed):
            space[name] = real
        gc.set_threshold(*thresholds)
        _depth = 0


def _replace(kinds: list[type], changed: list[tuple[dict, str, Any]]) -> None:
    spaces = {id(space): space for kind in dict.fromkeys(kinds) for space in _globals_of(kind)}
    mine = get_ident()
    stand_ins: dict[int, Callable] = {}
    for module, names in FORBIDDEN.items():
        space = vars(sys.modules[module]) if module in sys.modules else {}
        for name, instead in names.items():
            real = space.get(name)
            if real is not None:
                stand_ins[id(real)] = _stand_in(f"{module}.{name}", real, instead, mine, spaces)
                changed.append((space, name, real))
    for space in spaces.values():
        changed += [(space, name, value) for name, value in space.items() if id(value) in stand_ins]
    for space, name, real in changed:
        space[name] = stand_ins[id(real)]


def _globals_of(kind: type) -> list[dict[str, Any]]:
    functions = [value for value in vars(kind).values() if hasattr(value, "__globals__")]
    return [value.__globals__ for value in functions if not value.__module__.startswith("labsupport.")]


def _stand_in(called: str, real: Callable, instead: str, mine: int, spaces: dict[int, dict]) -> Callable:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        if get_ident() != mine or id(sys._getframe(1).f_globals) not in spaces:
            return real(*args, **kwargs)
        raise LearnerError(
            f"A handler called {called}, which reaches outside the simulation.",
            cause="a node may only use its context, so that one seed always gives the same run",
            do=instead,
        )

    return forbidden
