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
            out.append({"src": name, "dest": message["src"], "body": {"type": "init_ok", "in_reply_to": body["msg_id"]}})
        elif body["type"] == "begin":
            for number in range(body["tokens"]):
                out.append({"src": name, "dest": others[number % len(others)], "body": {"type": "token", "number": number}})
        else:
            number = body["number"] + 1
            out.append({"src": name, "dest": others[number % len(others)], "body": {"type": "token", "number": number}})
    sent, out = "".join(json.dumps(each) + "\n" for each in out).encode(), []
    while sent:
        sent = sent[os.write(1, sent) :]
