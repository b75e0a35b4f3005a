"""Real processes that speak the Maelstrom node protocol, and the router between them that makes things go wrong."""

from collections.abc import Mapping
from typing import Any

from labsupport.messages import RequestFailed

SERVICES = ("lin-kv", "seq-kv", "lww-kv", "lin-tso")  # who answers nodes besides other nodes
TRACE = "#trace"  # the receiver of what our own nodes tell of themselves: timers, saves, notes


def refusal(body: Mapping[str, Any]) -> RequestFailed:
    """What the body of an error says; one that gives no code counts as a crash, after which nobody knows."""
    code = body.get("code")
    return RequestFailed(code if isinstance(code, int) else 13, str(body.get("text", "")))
