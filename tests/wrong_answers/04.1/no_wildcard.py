async def subscriber(nc, prefix, handle, ready, stop):
    subscription = await nc.subscribe(prefix, cb=handle)
    await nc.flush()
    ready()
    await stop.wait()
    await subscription.drain()
