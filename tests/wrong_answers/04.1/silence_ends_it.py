async def subscriber(nc, prefix, handle, ready, stop):
    subscription = await nc.subscribe(f"{prefix}.>")
    await nc.flush()
    ready()
    while not stop.is_set():
        message = await subscription.next_msg()
        await handle(message)
    await subscription.unsubscribe()
