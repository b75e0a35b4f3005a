"""A node in a plain loop, the cheapest that Python can do: whatever comes goes on to the next node."""

import json
import os

unread, out, name, others = b"", [], "", []
while data := os.read(0, 65536):
    *lines, unread = (unread + data).split(b"\n")
    for line in lines:
        message = json.loads(line)
        body = message["body"]
        if body["type"] == "init":
            name = body["node_id"]
            others = [other for other in body["node_ids"] if other != name]
            out.append((message["src"], {"type": "init_ok", "in_reply_to": body["msg_id"]}))
        elif body["type"] == "begin":
            for number in range(body["tokens"]):
                out.append((others[number % len(others)], {"type": "token", "number": number}))
        else:
            number = body["number"] + 1
            out.append((others[number % len(others)], {"type": "token", "number": number}))
    written = [json.dumps({"src": name, "dest": dest, "body": body}) + "\n" for dest, body in out]
    sent, out = "".join(written).encode(), []
    while sent:
        sent = sent[os.write(1, sent) :]
