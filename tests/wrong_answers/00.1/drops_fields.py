"""Sends the payload back and forgets which question it answers."""

import json


async def echo(nc, message):
    request = json.loads(message.data)
    if request["type"] == "echo":
        await nc.publish(message.reply, json.dumps({"type": "echo_ok", "echo": request["echo"]}).encode())
