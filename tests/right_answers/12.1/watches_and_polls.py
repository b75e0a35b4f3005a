"""A transaction that is repeated when somebody else has changed the ledger, and a loop that looks at a flag."""

import json
import signal

import pika
import redis


class Ledger:
    def __init__(self, url):
        self.store = redis.Redis.from_url(url)

    def add(self, job_id, amount):
        with self.store.pipeline() as transaction:
            while True:
                try:
                    transaction.watch("sums")
                    if transaction.hexists("sums", job_id):
                        return
                    transaction.multi()
                    transaction.hset("sums", job_id, amount)
                    transaction.incrby("total", amount)
                    transaction.execute()
                    return
                except redis.WatchError:
                    continue


def parsed(body):
    try:
        job = json.loads(body)
        return job["id"], job["a"] + job["b"]
    except (ValueError, KeyError, TypeError):
        return None


def worker(rabbit_url, store_url, queue):
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    ledger = Ledger(store_url)
    with pika.BlockingConnection(pika.URLParameters(rabbit_url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        for method, _, body in channel.consume(queue, inactivity_timeout=0.1):
            if method is not None:
                job = parsed(body)
                if job is None:
                    channel.basic_nack(method.delivery_tag, requeue=False)
                else:
                    ledger.add(*job)
                    channel.basic_ack(method.delivery_tag)
            if stopping:
                break
        channel.cancel()
