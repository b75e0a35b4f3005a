"""After the job in hand the function returns, and the process with its connection is gone."""

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
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    channel.basic_qos(prefetch_count=5)
    for method, _, body in channel.consume(queue, inactivity_timeout=0.2):
        if method:
            try:
                job = json.loads(body)
                job_id, amount = job["id"], job["a"] + job["b"]
            except (ValueError, KeyError, TypeError):
                channel.basic_reject(method.delivery_tag, requeue=False)
            else:
                store.eval(ADD_ONCE, 2, "sums", "total", job_id, amount)
                channel.basic_ack(method.delivery_tag)
        if stopping:
            return
