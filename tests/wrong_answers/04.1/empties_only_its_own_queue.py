import nats


async def subscriber(nc, prefix, handle, ready, stop):
    subscription = await nc.subscribe(f"{prefix}.>")
    await nc.flush()
    ready()
    while not stop.is_set() or subscription.pending_msgs > 0:
        try:
            message = await subscription.next_msg(timeout=0.1)
        except nats.errors.TimeoutError:
            continue
        await handle(message)
    await subscription.unsubscribe()
