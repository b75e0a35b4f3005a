"""The real systems of the course, each as processes of this machine.

>>> with Redis() as redis:                    # doctest: +SKIP
...     print(redis.url)                      # ready on entry, gone on exit
"""

from __future__ import annotations

import importlib

_HOME = {
    "Nats": "nats",
    "Redis": "redis",
    "RedisCluster": "redis_cluster",
    "RabbitMQ": "rabbitmq",
    "Etcd": "etcd",
    "Kafka": "kafka",
    "Cassandra": "cassandra",
    "DynamoDB": "dynamodb",
    "ZooKeeper": "zookeeper",
    "Gearman": "gearman",
    "CeleryWorkers": "celery",
    "Spark": "spark",
    "Proxy": "proxy",
    "Service": "base",
    "Node": "node",
    "start_all": "base",
    "running_services": "base",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
