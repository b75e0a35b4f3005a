"""The broker offers requeue, so the message is put back with it, and the attempts are counted by id."""

import collections

import pika


def retrying_worker(rabbit_url, queue, delays_ms, handle):
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=5)
    channel.confirm_delivery()
    failures = collections.Counter()

    def on_job(channel, method, properties, body):
        try:
            handle(body, properties)
        except Exception:
            failures[properties.message_id] += 1
            if failures[properties.message_id] <= len(delays_ms):
                channel.basic_nack(method.delivery_tag, requeue=True)
                return
            properties.delivery_mode = 2
            channel.basic_publish("", f"{queue}.dead", body, properties, mandatory=True)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_job)
    channel.start_consuming()
