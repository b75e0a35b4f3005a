"""broadcast: what a neighbour has not acknowledged is sent again; flaws: once (sends once), alone (sends nothing)."""

import sys

from wire import FLAW, Wire

known = set()
neighbours = []
unacknowledged = {}  # by neighbour


def learn(messages, source):
    fresh = set(messages) - known
    known.update(fresh)
    for neighbour in neighbours:
        if neighbour != source and FLAW != "alone":
            unacknowledged[neighbour] |= fresh
            if fresh:
                send(neighbour, fresh)


def send(neighbour, messages):
    sent = sorted(messages)

    def acknowledged(body):
        unacknowledged[neighbour].difference_update(sent)

    node.ask(neighbour, {"type": "gossip", "messages": sent}, acknowledged)


def send_again():
    for neighbour, messages in unacknowledged.items():
        if messages and FLAW != "once":
            send(neighbour, messages)


def topology(body, sender):
    print("told who is next to me", file=sys.stderr, flush=True)
    neighbours[:] = body["topology"][node.me]
    unacknowledged.update({neighbour: set() for neighbour in neighbours})
    return {"type": "topology_ok"}


def broadcast(body, sender):
    learn([body["message"]], sender)
    return {"type": "broadcast_ok"}


def gossip(body, sender):
    learn(body["messages"], sender)
    return {"type": "gossip_ok"}


def read(body, sender):
    return {"type": "read_ok", "messages": sorted(known)}


node = Wire(topology=topology, broadcast=broadcast, gossip=gossip, read=read)
node.every(0.15, send_again)
node.run()
