"""Answers once more, to be on the safe side."""

import json


async def echo(nc, message):
    request = json.loads(message.data)
    if request["type"] != "echo":
        return
    reply = {"type": "echo_ok", "in_reply_to": request["msg_id"], "echo": request["echo"]}
    for _ in range(2):
        await nc.publish(message.reply, json.dumps(reply).encode())
