"""First the original is out of the way, then the copy is published."""

import pika


def retrying_worker(rabbit_url, queue, delays_ms, handle):
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=5)
    channel.confirm_delivery()
    for delay_ms in delays_ms:
        back = {"x-message-ttl": delay_ms, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
        channel.queue_declare(f"{queue}.retry.{delay_ms}", durable=True, arguments=back)

    def on_job(channel, method, properties, body):
        try:
            handle(body, properties)
            channel.basic_ack(method.delivery_tag)
        except Exception:
            headers = properties.headers or {}
            failed = headers.get("attempts", 0)
            properties.headers = {**headers, "attempts": failed + 1}
            properties.delivery_mode = 2
            target = f"{queue}.retry.{delays_ms[failed]}" if failed < len(delays_ms) else f"{queue}.dead"
            channel.basic_ack(method.delivery_tag)
            channel.basic_publish("", target, body, properties, mandatory=True)

    channel.basic_consume(queue, on_job)
    channel.start_consuming()
