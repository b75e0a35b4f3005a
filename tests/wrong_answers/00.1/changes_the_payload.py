"""Takes every payload for text."""

import json


async def echo(nc, message):
    request = json.loads(message.data)
    if request["type"] != "echo":
        return
    reply = {"type": "echo_ok", "in_reply_to": request["msg_id"], "echo": str(request["echo"])}
    await nc.publish(message.reply, json.dumps(reply).encode())
