"""Remembers who asked first and answers there for ever."""

import json

first = []


async def echo(nc, message):
    request = json.loads(message.data)
    if request["type"] != "echo":
        return
    first.append(message.reply)
    reply = {"type": "echo_ok", "in_reply_to": request["msg_id"], "echo": request["echo"]}
    await nc.publish(first[0], json.dumps(reply).encode())
