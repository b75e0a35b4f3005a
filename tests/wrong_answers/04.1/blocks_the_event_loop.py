import time


async def subscriber(nc, prefix, handle, ready, stop):
    subscription = await nc.subscribe(f"{prefix}.>", cb=handle)
    await nc.flush()
    ready()
    while not stop.is_set():
        time.sleep(0.1)
    await subscription.drain()
