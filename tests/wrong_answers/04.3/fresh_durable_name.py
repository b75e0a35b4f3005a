import asyncio
import json
import uuid

import nats
from nats.js.api import ConsumerConfig


async def next_order(consumer):
    while True:
        try:
            return (await consumer.fetch(1, timeout=5))[0]
        except nats.errors.TimeoutError:
            continue


async def billing(nc, price, ack_wait_s):
    js = nc.jetstream()
    accounts = await js.key_value("accounts")
    consumer = await js.pull_subscribe(
        "orders.*", durable=f"billing-{uuid.uuid4().hex}", stream="ORDERS", config=ConsumerConfig(ack_wait=ack_wait_s)
    )

    async def stay_alive(message):
        while True:
            await message.in_progress()
            await asyncio.sleep(ack_wait_s / 4)

    while True:
        message = await next_order(consumer)
        order = json.loads(message.data)
        alive = asyncio.create_task(stay_alive(message))
        amount = await price(order)
        entry = await accounts.get(order["account"])
        account = json.loads(entry.value)
        if order["id"] not in account["orders"]:
            account["total"] += amount
            account["orders"].append(order["id"])
            await accounts.update(order["account"], json.dumps(account).encode(), last=entry.revision)
        alive.cancel()
        await message.ack()
