"""g-counter and pn-counter: totals by node, merged by the greater one; flaws: alone, sums (merges by adding)."""

from wire import FLAW, Wire

totals = {}  # by node: [added, subtracted]


def add(body, sender):
    mine = totals.setdefault(node.me, [0, 0])
    mine[body["delta"] < 0] += abs(body["delta"])
    return {"type": "add_ok"}


def read(body, sender):
    return {"type": "read_ok", "value": sum(up - down for up, down in totals.values())}


def gossip(body, sender):
    merge = int.__add__ if FLAW == "sums" else max
    for name, theirs in body["totals"].items():
        totals[name] = list(map(merge, totals.get(name, [0, 0]), theirs))


def tell():
    for peer in node.peers:
        if FLAW != "alone":
            node.send(peer, {"type": "gossip", "totals": totals})


node = Wire(add=add, read=read, gossip=gossip)
node.every(0.1, tell)
node.run()
