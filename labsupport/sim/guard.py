"""While a world runs, learners' code cannot reach the real world behind its back: clocks, sleeps, chance, threads.

The functions and classes in question are replaced for the time of the run, in their modules and where a learner has
imported them by name. Only calls that stand in a learner's own module, in the thread that runs the world, are refused;
all others, such as those that `print` makes in a notebook, reach the real function. A watchdog ends handlers that do
not return.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
from _thread import get_ident  # to tell threads apart; none is started here
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

from labsupport.errors import LearnerError
from labsupport.watchdog import MOST_S, Watchdog

_SLEEP = "await ctx.sleep(seconds) in an `async def` handler, or use ctx.set_timer(name, seconds) and on_timer"
_CLOCK = "use ctx.now(), this node's clock in the simulation and in a real process"
_CHANCE = "use ctx.random, which draws from the run's seed, for example ctx.random.uniform(0.15, 0.3)"
_WAIT = "return from the handler; the next message or timer calls the node again"
_BESIDE = "use ctx.spawn(...) or ctx.set_timer(...); nothing runs beside a handler"
_OUTSIDE = "send messages with ctx.send and keep data with ctx.save; a node has no other way out"

# What is forbidden, and what to use instead; a module that nobody has imported is not imported for this.
FORBIDDEN = {
    "time": {
        **dict.fromkeys(["sleep"], _SLEEP),
        **dict.fromkeys(
            ["time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"], _CLOCK
        ),
    },
    "random": dict.fromkeys(
        ["random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "expovariate", "gauss"],
        _CHANCE,
    ),
    "uuid": dict.fromkeys(["uuid1", "uuid4"], "build ids from ctx.me and a counter, or from ctx.random"),
    "secrets": dict.fromkeys(["token_hex", "token_bytes", "randbelow", "choice"], _CHANCE),
    "os": {"urandom": _CHANCE, **dict.fromkeys(["system", "popen", "open", "fork"], _OUTSIDE)},
    "asyncio": {
        "sleep": _SLEEP,
        **dict.fromkeys(["gather", "create_task", "wait_for", "wait", "run"], "use ctx.spawn and await ctx.rpc"),
    },
    "socket": {"create_connection": _OUTSIDE},
    "subprocess": dict.fromkeys(["run", "check_output", "check_call", "call"], _OUTSIDE),
    "urllib.request": {"urlopen": _OUTSIDE},
    "numpy.random": dict.fromkeys(["rand", "randint", "random", "choice", "shuffle", "default_rng"], _CHANCE),
    "builtins": {"input": _WAIT, "open": _OUTSIDE},
}

# Classes: which calls of them are forbidden. "" is the class itself, "()" the class without arguments.
FORBIDDEN_CLASSES = {
    "random": {"Random": {"()": _CHANCE}, "SystemRandom": {"": _CHANCE}},
    "datetime": {
        "datetime": dict.fromkeys(["now", "utcnow", "today"], _CLOCK),
        "date": {"today": _CLOCK},
    },
    "socket": {"socket": {"": _OUTSIDE}},
    "subprocess": {"Popen": {"": _OUTSIDE}},
    "threading": {name: {"": _BESIDE} for name in ("Thread", "Timer")},
}

# A trace is made of hundreds of thousands of small tuples that all stay alive, and the collector of cyclic garbage
# would walk through them again and again: that took half of a run's time.
_UNDISTURBED = 500_000

_depth = 0  # worlds within worlds: only the outermost one replaces and restores

_drivers: set[CodeType] = set()


def driver(function: Callable) -> Callable:
    """Mark a function that calls one handler after the other; what it calls has to return (see `watchdog`)."""
    _drivers.add(function.__code__)
    return function


class Unending(LearnerError):
    """A handler did not return."""


def unending(where: str) -> Unending:
    """What to say when a handler did not return."""
    return Unending(
        f"A handler did not return; it was ended after {MOST_S:g} seconds of work{where}.",
        cause="a loop that waits for something; but messages and timers come only when the handler has returned",
        do="return, and go on in on_<message> or on_timer; or await ctx.sleep(...) or ctx.rpc(...) in the loop",
    )


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
        with Watchdog(frozenset(_drivers)):
            _replace([kind for host in hosts for kind in host.kind.__mro__], changed)
            yield
    finally:
        for space, name, real in reversed(changed):
            space[name] = real
        gc.set_threshold(*thresholds)
        _depth = 0


_thread = 0  # the one that runs the world
_spaces: dict[int, dict[str, Any]] = {}  # the global names of the learner's modules, by their id


def _replace(kinds: list[type], changed: list[tuple[dict, str, Any]]) -> None:
    global _thread, _spaces
    _thread = get_ident()
    _spaces = {id(space): space for kind in dict.fromkeys(kinds) for space in _globals_of(kind)}
    stand_ins: dict[int, Any] = {}
    for forbidden, made in ((FORBIDDEN, _stand_in), (FORBIDDEN_CLASSES, _class_stand_in)):
        for module, names in forbidden.items():
            space = vars(sys.modules[module]) if module in sys.modules else {}
            for name in names:
                real = space.get(name)
                if real is not None:
                    stand_ins[id(real)] = made(f"{module}.{name}", real)
                    changed.append((space, name, real))
    for space in _spaces.values():
        changed += [(space, name, value) for name, value in space.items() if id(value) in stand_ins]
    for space, name, real in changed:
        space[name] = stand_ins[id(real)]


def _globals_of(kind: type) -> list[dict[str, Any]]:
    functions = [value for value in vars(kind).values() if hasattr(value, "__globals__")]
    return [value.__globals__ for value in functions if not value.__module__.startswith("labsupport.")]


def _refuse(called: str, instead: str) -> None:
    """Raise an error if the stand-in that asks was called by a learner's own code."""
    if get_ident() == _thread and id(sys._getframe(2).f_globals) in _spaces:
        raise LearnerError(
            f"A handler called {called}, which reaches outside the simulation.",
            cause="a node may only use its context, so that one seed always gives the same run",
            do=instead,
        )


@functools.lru_cache(maxsize=200)
def _stand_in(called: str, real: Callable, instead: str = "") -> Callable:
    instead = instead or FORBIDDEN[called.rpartition(".")[0]][called.rpartition(".")[2]]

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        _refuse(called, instead)
        return real(*args, **kwargs)

    return forbidden


@functools.lru_cache(maxsize=200)
def _class_stand_in(called: str, real: type) -> type:
    """A class that is taken for the real one and makes objects of it."""
    forbidden = FORBIDDEN_CLASSES[called.rpartition(".")[0]][called.rpartition(".")[2]]

    class Kind(type(real)):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            instead = forbidden.get("") or ("" if args or kwargs else forbidden.get("()"))
            if instead:
                _refuse(called, instead)
            return real(*args, **kwargs) if cls.__bases__ == (real,) else super().__call__(*args, **kwargs)

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, real)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, real)

    methods = {
        name: staticmethod(_stand_in(f"{called}.{name}", getattr(real, name), instead))
        for name, instead in forbidden.items()
        if name.isidentifier()
    }
    return Kind(real.__name__, (real,), methods)
