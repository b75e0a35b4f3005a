"""Has its orders pushed to a callback, and puts the record without comparing."""

import asyncio
import json

from nats.js.api import ConsumerConfig


async def billing(nc, price, ack_wait_s):
    js = nc.jetstream()
    accounts = await js.key_value("accounts")

    async def busy(message, priced):
        while not priced.done():
            await asyncio.wait([priced], timeout=ack_wait_s / 3)
            if not priced.done():
                await message.in_progress()

    async def on_order(message):
        order = json.loads(message.data)
        priced = asyncio.ensure_future(price(order))
        await busy(message, priced)
        account = json.loads((await accounts.get(order["account"])).value)
        if order["id"] not in account["orders"]:
            account = {"total": account["total"] + priced.result(), "orders": [*account["orders"], order["id"]]}
            await accounts.put(order["account"], json.dumps(account).encode())
        await message.ack_sync()

    config = ConsumerConfig(ack_wait=ack_wait_s)
    await js.subscribe("orders.>", durable="billing", stream="ORDERS", cb=on_order, manual_ack=True, config=config)
    await asyncio.Event().wait()
