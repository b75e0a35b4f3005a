import asyncio
import json

import nats


async def serve(nc, subject, compute):
    subscription = await nc.subscribe(subject, queue="workers")

    async def work():
        async for message in subscription.messages:
            reply = {"sum": compute(json.loads(message.data)["numbers"])}
            await message.respond(json.dumps(reply).encode())

    subscription.worker = asyncio.create_task(work())
    return subscription


async def ask(nc, subject, numbers, timeout_s):
    request = json.dumps({"numbers": numbers}).encode()
    try:
        message = await nc.request(subject, request, timeout=timeout_s)
    except nats.errors.NoRespondersError:
        return "nobody", "no worker"
    except nats.errors.TimeoutError:
        return "unknown", "no answer"
    reply = json.loads(message.data)
    if "error" in reply:
        return "failed", reply["error"]
    return "done", reply["sum"]
