async def subscriber(nc, prefix, handle, ready, stop):
    await nc.subscribe(f"{prefix}.>", cb=handle)
    await nc.flush()
    ready()
