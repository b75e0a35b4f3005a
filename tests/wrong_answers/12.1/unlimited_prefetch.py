"""Right in all, but the broker may send everything at once."""

import json
import signal

import pika
import redis

ADD_ONCE = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
    redis.call('INCRBY', KEYS[2], ARGV[2])
end
"""


def worker(rabbit_url, store_url, queue):
    store = redis.Redis.from_url(store_url)
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    channel = connection.channel()

    def on_job(channel, method, properties, body):
        try:
            job = json.loads(body)
            job_id, amount = job["id"], job["a"] + job["b"]
        except (ValueError, KeyError, TypeError):
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        store.eval(ADD_ONCE, 2, "sums", "total", job_id, amount)
        channel.basic_ack(method.delivery_tag)

    signal.signal(signal.SIGTERM, lambda *_: connection.add_callback_threadsafe(channel.stop_consuming))
    channel.basic_consume(queue, on_job)
    channel.start_consuming()
    connection.close()
