import asyncio


async def subscriber(nc, prefix, handle, ready, stop):
    async def on_message(message):
        asyncio.create_task(handle(message))  # noqa: RUF006 — that is the mistake

    subscription = await nc.subscribe(f"{prefix}.>", cb=on_message)
    await nc.flush()
    ready()
    await stop.wait()
    await subscription.drain()
