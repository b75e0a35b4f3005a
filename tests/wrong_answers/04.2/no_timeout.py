import json

import nats


async def serve(nc, subject, compute):
    async def work(message):
        try:
            reply = {"sum": compute(json.loads(message.data)["numbers"])}
        except Exception as error:
            reply = {"error": str(error)}
        await message.respond(json.dumps(reply).encode())

    return await nc.subscribe(subject, queue="workers", cb=work)


async def ask(nc, subject, numbers, timeout_s):
    request = json.dumps({"numbers": numbers}).encode()
    try:
        message = await nc.request(subject, request, timeout=None)
    except nats.errors.NoRespondersError:
        return "nobody", "no worker"
    except nats.errors.TimeoutError:
        return "unknown", "no answer"
    reply = json.loads(message.data)
    if "error" in reply:
        return "failed", reply["error"]
    return "done", reply["sum"]
