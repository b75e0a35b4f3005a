"""txn-list-append and txn-rw-register, all done by the first node; flaws: alone (each node by itself), aborts (with
effect), reorders (answers something else)."""

from wire import FLAW, Wire

lists, registers = {}, {}
count = 0


def perform(steps):
    done = []
    for what, key, value in steps:
        if what == "append":
            lists.setdefault(key, []).append(value)
        elif what == "w":
            registers[key] = value
        else:
            value = list(lists[key]) if key in lists else registers.get(key)
        done.append([what, key, value])
    return done


def txn(body, sender):
    global count
    first = min([node.me, *node.peers])
    if node.me != first and FLAW != "alone":
        node.ask(first, {"type": "txn", "txn": body["txn"]}, lambda answer: node.answer(sender, body, clean(answer)))
        return None
    count += 1
    done = perform(body["txn"])
    if FLAW == "aborts" and count % 4 == 0:
        return {"type": "error", "code": 30, "text": "conflict, and yet done"}
    return {"type": "txn_ok", "txn": done[::-1] if FLAW == "reorders" else done}


def clean(answer):
    return {key: value for key, value in answer.items() if key != "in_reply_to"}


node = Wire(txn=txn)
node.run()
