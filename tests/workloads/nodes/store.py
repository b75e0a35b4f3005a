"""lin-kv by asking the service lin-kv; flaw: alone (each node has its own copy)."""

from wire import FLAW, Wire

values = {}


def forward(body, sender):
    asked = {key: value for key, value in body.items() if key != "msg_id"}

    def answered(answer):
        node.answer(sender, body, {key: value for key, value in answer.items() if key != "in_reply_to"})

    node.ask("lin-kv", asked, answered)


def own(body, sender):
    key = body["key"]
    if body["type"] == "write":
        values[key] = body["value"]
    elif key not in values:
        return {"type": "error", "code": 20, "text": "no such key"}
    elif body["type"] == "cas":
        if values[key] != body["from"]:
            return {"type": "error", "code": 22, "text": "another value"}
        values[key] = body["to"]
    else:
        return {"type": "read_ok", "value": values[key]}
    return {"type": f"{body['type']}_ok"}


handler = own if FLAW == "alone" else forward
node = Wire(read=handler, write=handler, cas=handler)
node.run()
