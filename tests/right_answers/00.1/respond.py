"""Mutates the request into its answer and uses the client's own respond method."""

import json


async def echo(nc, message):
    body = json.loads(message.data)
    if body.pop("type") != "echo":
        return
    body["in_reply_to"] = body.pop("msg_id")
    await message.respond(json.dumps(body | {"type": "echo_ok"}).encode())
