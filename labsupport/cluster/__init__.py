"""Real processes that speak the Maelstrom node protocol, and the router between them that makes things go wrong."""

SERVICES = ("lin-kv", "seq-kv", "lww-kv", "lin-tso")  # who answers nodes besides other nodes
TRACE = "#trace"  # the receiver of what our own nodes tell of themselves: timers, saves, notes
