async def subscriber(nc, prefix, handle, ready, stop):
    async def only_ours(message):
        if message.subject.startswith(prefix + "."):
            await handle(message)

    subscription = await nc.subscribe(">", cb=only_ours)
    await nc.flush()
    ready()
    await stop.wait()
    await subscription.drain()
