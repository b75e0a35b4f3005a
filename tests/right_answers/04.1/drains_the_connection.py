"""Leaves by draining the whole connection."""


async def subscriber(nc, prefix, handle, ready, stop):
    async def on_message(message):
        await handle(message)

    await nc.subscribe(f"{prefix}.>", cb=on_message)
    await nc.flush(timeout=60)
    ready()
    await stop.wait()
    await nc.drain()
