"""Makes the inbox itself, and publishes instead of responding."""

import asyncio
import json

import nats


def answer_to(data, compute):
    try:
        numbers = json.loads(data)["numbers"]
        return {"sum": compute(numbers)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


async def serve(nc, subject, compute):
    async def work(message):
        reply = answer_to(message.data, compute)
        await nc.publish(message.reply, json.dumps(reply).encode())

    return await nc.subscribe(subject, queue=f"{subject}-workers", cb=work)


async def ask(nc, subject, numbers, timeout_s):
    inbox = nc.new_inbox()
    answers = await nc.subscribe(inbox, max_msgs=1)
    await nc.publish(subject, json.dumps({"numbers": numbers}).encode(), reply=inbox)
    try:
        message = await answers.next_msg(timeout=timeout_s)
    except (nats.errors.TimeoutError, asyncio.TimeoutError):
        return "unknown", "no answer in time"
    if message.headers and message.headers.get("Status") == "503":
        return "nobody", "no worker has subscribed"
    reply = json.loads(message.data)
    return ("failed", reply["error"]) if "error" in reply else ("done", reply["sum"])
