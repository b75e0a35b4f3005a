"""When a cell fails because a broker is down: say so, in three lines instead of the client library's hundred.

A client that loses its broker raises an error about sockets from deep inside its own event loop. In a notebook we
know more: which of our nodes does not run, and whether the notebook itself killed it. So an error that speaks of a
connection or a time limit is shown as a `ServiceError` while such a node exists. Every other error is shown as ever,
and ``%tb`` always shows the client's own traceback.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from labsupport.errors import LabError, ServiceError

if TYPE_CHECKING:
    from labsupport.services.base import Service
    from labsupport.services.node import Node

# Whose errors these are: the package of a client library -> the systems it talks to.
SYSTEMS_OF = {
    "pika": ("rabbitmq",),
    "amqp": ("rabbitmq",),
    "kombu": ("rabbitmq", "redis"),
    "celery": ("celery", "rabbitmq", "redis"),
    "redis": ("redis",),
    "valkey": ("redis",),
    "nats": ("nats",),
    "grpc": ("etcd",),
    "gearman": ("gearman",),
    "kazoo": ("zookeeper",),
    "cassandra": ("cassandra",),
    "botocore": ("dynamodb",),
    "cimpl": ("kafka",),  # confluent-kafka's errors, which are of one class and have names
}
EVERY_SYSTEM = tuple(dict.fromkeys(system for systems in SYSTEMS_OF.values() for system in systems))
KAFKA_LOST = re.compile(r"TIMED_OUT|TRANSPORT|BROKERS_DOWN|NOT_ENOUGH_REPLICAS|NOT_AVAILABLE|NOT_COORDINATOR|_STATE$")
SPEAKS_OF_A_CONNECTION = re.compile(
    r"Connection|Connect|Timeout|TimedOut|StreamLost|WrongState|NoServers|NoResponders|Unavailable|NoStreamResponse"
    r"|MasterNotFound|SlaveNotFound|Nack|BusyLoading|OperationalError|NoHostAvailable|SessionExpired"
)
FILES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)

_installed: list[object] = []


def install() -> None:
    """In a notebook (or an IPython terminal), show such errors our way from now on; elsewhere do nothing."""
    shell = _shell()
    if shell is None or any(shell is known for known in _installed):
        return
    _installed.append(shell)
    earlier_kinds, earlier = shell.custom_exceptions, shell.CustomTB

    def show(shell: Any, kind: type, error: Exception, trace: TracebackType, tb_offset: int | None = None) -> Any:
        explained = explanation(error, shell.user_ns)
        if explained is not None:
            shell.showtraceback((type(explained), explained, trace))
            sys.last_type, sys.last_value, sys.last_traceback, sys.last_exc = kind, error, trace, error  # for %tb
        elif earlier_kinds and isinstance(error, earlier_kinds):
            return earlier(kind, error, trace, tb_offset=tb_offset)
        else:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
        return None

    shell.set_custom_exc((Exception,), show)


def explanation(error: BaseException, names: Mapping[str, object] | None = None) -> ServiceError | None:
    """What to show instead of `error`, or None when no broker of ours is to blame.

    Args:
        error: what a cell raised.
        names: the notebook's variables, to tell the reader what to call.
    """
    if isinstance(error, LabError):
        return None
    variables = {id(value): name for name, value in (names or {}).items() if not name.startswith("_")}
    for cause in _causes(error):
        for service, node in _down(_systems_of(cause), variables):
            return _explain(cause, service, node, variables.get(id(service), "the service"))
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what is inside when it is a group."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is None or any(cause is known for known in seen):
            continue
        seen.append(cause)
        waiting += [cause.__cause__, *getattr(cause, "exceptions", ())]
        yield cause


def _systems_of(error: BaseException) -> tuple[str, ...]:
    """The systems whose failure could have caused this error; none if it speaks of no connection and no time limit."""
    package = type(error).__module__.partition(".")[0]
    if package == "grpc":
        code = getattr(error, "code", lambda: None)()
        lost = getattr(code, "name", "") in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
        return SYSTEMS_OF["grpc"] if lost else ()
    if package == "cimpl":
        name = getattr(error.args[0] if error.args else None, "name", str)()
        return SYSTEMS_OF["cimpl"] if KAFKA_LOST.search(name) else ()
    if package in SYSTEMS_OF:
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == package]
        return SYSTEMS_OF[package] if any(map(SPEAKS_OF_A_CONNECTION.search, kinds)) else ()
    lost = isinstance(error, (OSError, EOFError)) and not isinstance(error, FILES)
    # Python 3.10 has three classes of that name: its own, asyncio's and concurrent.futures'.
    late = package in ("builtins", "asyncio", "concurrent") and type(error).__name__ == "TimeoutError"
    return EVERY_SYSTEM if lost or late else ()


def _down(systems: tuple[str, ...], variables: Mapping[int, str]) -> Iterator[tuple[Service, Node]]:
    """The nodes of these systems that do not run.

    A service that no variable names any more (its cell was run twice) is not the one that the notebook speaks to, if
    there is another.
    """
    from labsupport.services.base import running_services

    candidates = [service for service in running_services() if service.system in systems]
    for service in [each for each in candidates if id(each) in variables] or candidates:
        for node in service._nodes:
            if node.state != "running":
                yield service, node


def _explain(error: BaseException, service: Service, node: Node, variable: str) -> ServiceError:
    happened, remedy = node.what_happened()
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return ServiceError(
        f"{node.name} of {service.title} {happened}, and this cell could not go on without it.",
        cause=f"that is why the client says {type(error).__name__}: {first_line} (%tb shows all of it)",
        do=f"run {variable}.nodes[{service._nodes.index(node)}].{remedy}(), then this cell again",
    )


def _shell() -> Any:
    """The IPython shell we run in, without importing IPython where it is not already in use."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
