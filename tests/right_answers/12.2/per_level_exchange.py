"""A direct exchange with one queue per level; the original goes back to the broker when its copy was refused."""

import dataclasses

import pika
import pika.exceptions


@dataclasses.dataclass
class Levels:
    channel: object
    queue: str
    delays_ms: list

    @property
    def exchange(self):
        return f"{self.queue}.levels"

    def declare(self):
        self.channel.exchange_declare(self.exchange, "direct", durable=True)
        for level, delay_ms in enumerate(self.delays_ms):
            name = f"{self.queue}.level-{level}"
            expiry = {"x-message-ttl": delay_ms, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.queue}
            self.channel.queue_declare(name, durable=True, arguments=expiry)
            self.channel.queue_bind(name, self.exchange, str(level))
        self.channel.queue_bind(f"{self.queue}.dead", self.exchange, "dead")

    def put_aside(self, properties, body, level):
        copy = pika.BasicProperties(**vars(properties))
        copy.headers = dict(properties.headers or {}, level=level + 1)
        copy.delivery_mode = pika.DeliveryMode.Persistent.value
        key = str(level) if level < len(self.delays_ms) else "dead"
        self.channel.basic_publish(self.exchange, key, body, copy, mandatory=True)


def retrying_worker(rabbit_url, queue, delays_ms, handle):
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)
    levels = Levels(channel, queue, delays_ms)
    levels.declare()
    for method, properties, body in channel.consume(queue):
        try:
            handle(body, properties)
        except Exception:
            try:
                levels.put_aside(properties, body, (properties.headers or {}).get("level", 0))
            except (pika.exceptions.UnroutableError, pika.exceptions.NackError):
                channel.basic_nack(method.delivery_tag, requeue=True)
                levels.declare()
                continue
        channel.basic_ack(method.delivery_tag)
