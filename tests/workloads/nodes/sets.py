"""g-set, each node gossiping all it knows; flaws: alone (tells nobody), once (tells of each element once)."""

from wire import FLAW, Wire

elements = set()
told = set()


def add(body, sender):
    elements.add(body["element"])
    return {"type": "add_ok"}


def read(body, sender):
    return {"type": "read_ok", "value": sorted(elements)}


def gossip(body, sender):
    elements.update(body["elements"])


def tell():
    fresh = elements - told if FLAW == "once" else elements
    for peer in node.peers:
        if fresh and FLAW != "alone":
            node.send(peer, {"type": "gossip", "elements": sorted(fresh)})
    told.update(fresh)


node = Wire(add=add, read=read, gossip=gossip)
node.every(0.1, tell)
node.run()
