"""The consumer waits itself, and publishes the copy straight to the work queue."""

import time

import pika


def retrying_worker(rabbit_url, queue, delays_ms, handle):
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=5)
    channel.confirm_delivery()

    def on_job(channel, method, properties, body):
        try:
            handle(body, properties)
        except Exception:
            headers = properties.headers or {}
            failed = headers.get("attempts", 0)
            properties.headers = {**headers, "attempts": failed + 1}
            properties.delivery_mode = 2
            target = f"{queue}.dead"
            if failed < len(delays_ms):
                time.sleep(delays_ms[failed] / 1000)
                target = queue
            channel.basic_publish("", target, body, properties, mandatory=True)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_job)
    channel.start_consuming()
