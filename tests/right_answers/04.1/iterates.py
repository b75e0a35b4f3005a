"""Reads the messages itself, instead of having them handed to a callback."""

import asyncio


async def subscriber(nc, prefix, handle, ready, stop):
    subscription = await nc.subscribe(".".join([prefix, ">"]))

    async def listen():
        async for message in subscription.messages:
            await handle(message)

    listening = asyncio.create_task(listen())
    await nc.rtt()
    ready()
    await stop.wait()
    await subscription.drain()
    await listening
