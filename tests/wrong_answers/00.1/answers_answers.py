"""Answers whatever arrives."""

import json


async def echo(nc, message):
    body = json.loads(message.data)
    reply = {"type": "echo_ok", "in_reply_to": body.get("msg_id"), "echo": body["echo"]}
    await nc.publish(message.reply, json.dumps(reply).encode())
