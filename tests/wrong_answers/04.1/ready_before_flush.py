async def subscriber(nc, prefix, handle, ready, stop):
    subscription = await nc.subscribe(f"{prefix}.>", cb=handle)
    ready()
    await stop.wait()
    await subscription.drain()
