"""kafka on one node; flaws: reuses (an offset), loses (acknowledged ones), skips (in polls), forgets (the end)."""

from wire import FLAW, Wire

logs = {}
committed = {}
count = 0


def send(body, sender):
    global count
    count += 1
    log = logs.setdefault(body["key"], {})
    offset = len(log)
    if FLAW == "reuses" and offset and count % 7 == 0:
        offset -= 1
    log[offset] = body["msg"]
    if FLAW == "loses" and count % 7 == 0:
        log[offset] = None
    return {"type": "send_ok", "offset": offset}


def poll(body, sender):
    found = {}
    for key, start in body["offsets"].items():
        log = logs.get(key, {})
        there = [[offset, log[offset]] for offset in sorted(log) if offset >= start and log[offset] is not None]
        if FLAW == "skips":
            there = there[:1] + there[2:]
        if FLAW == "forgets":
            there = [pair for pair in there if pair[0] < 3]
        found[key] = there[:5]
    return {"type": "poll_ok", "msgs": found}


def commit_offsets(body, sender):
    committed.update(body["offsets"])
    return {"type": "commit_offsets_ok"}


def list_committed_offsets(body, sender):
    found = {key: committed[key] for key in body["keys"] if key in committed}
    return {"type": "list_committed_offsets_ok", "offsets": found}


Wire(send=send, poll=poll, commit_offsets=commit_offsets, list_committed_offsets=list_committed_offsets).run()
