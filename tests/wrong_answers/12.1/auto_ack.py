"""The document's consumer: the broker is told not to wait for acknowledgements."""

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
            return
        store.eval(ADD_ONCE, 2, "sums", "total", job_id, amount)

    signal.signal(signal.SIGTERM, lambda *_: connection.add_callback_threadsafe(channel.stop_consuming))
    channel.basic_consume(queue, on_job, auto_ack=True)
    channel.start_consuming()
    connection.close()
