"""Real processes that speak the Maelstrom node protocol, and the router between them that makes things go wrong."""
