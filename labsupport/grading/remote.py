"""Grade on other machines: notebooks go out as Celery tasks over RabbitMQ, and verdicts come back through Redis.

RabbitMQ says what is to be graded: a task stays in a durable queue until its worker is done, so a worker that dies
loses nothing. Redis says what is graded: a hash for each notebook with a field for each exercise. A worker looks there
before it begins, under a lock whose lease runs out when it dies, so nothing is graded twice, however often a task is
handed out.
The queue's name has the version of the course in it: a worker with another version gets nothing to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import celery
import kombu
import redis
from amqp.exceptions import AMQPError
from kombu.exceptions import OperationalError

from labsupport.errors import ServiceError, SetupError
from labsupport.grading import release
from labsupport.grading.grader import unjudged
from labsupport.grading.pool import Task
from labsupport.grading.sandbox import PACKAGE
from labsupport.repeating import every

TASK = "grade"
QUEUES = "grading-"
KEPT_S = 7 * 24 * 3600  # verdicts in Redis: so long may a grader that was killed wait for its next start
LEASE_S = 20  # of a lock; its owner renews it four times as often
LARGEST = 12_000_000  # bytes of a task; RabbitMQ 4 takes no message of more than 16 MiB
LOOK_S = 0.3  # how often we look for verdicts
ASK_S = (1.0, 2.0, 4.0, 8.0)  # how long workers have to answer, each time that we ask whether somebody is there
QUIET_S = 20.0  # without a verdict we look whether the workers are still there


Waiting = dict[str, tuple[Task, set[str]]]  # by key: a task, and those of its exercises that nobody has told of yet


def version(modules: Sequence[str]) -> str:
    """What decides about marks, files and which lessons can be graded, as 12 hexadecimal digits."""
    own = [importlib.util.find_spec(name).origin for name in modules]
    files = {*PACKAGE.rglob("*.py"), *release.LESSONS.glob("*.ipynb"), *map(Path, own)}
    whole = hashlib.sha256(" ".join(modules).encode())
    for file in sorted(files, key=lambda file: (file.name, str(file))):
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:12]


def queue_of(version: str) -> str:
    """The queue for workers of this version."""
    return f"{QUEUES}{version}"


def application(broker: str, version: str) -> celery.Celery:
    """The Celery application of both sides."""
    app = celery.Celery("grading", broker=broker, set_as_current=False)
    app.conf.update(
        task_queues=[kombu.Queue(queue_of(version), durable=True)],
        task_default_queue=queue_of(version),
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        accept_content=["json"],
        broker_heartbeat=20,
        broker_connection_timeout=5,
        broker_transport_options={"confirm_publish": True},
    )
    return app


def results_beside(broker: str) -> str:
    """The Redis on the broker's machine, with the broker's password."""
    address = urlsplit(broker)
    secret = f":{address.password}@" if address.password else ""
    return f"redis://{secret}{address.hostname}:6379/0"


def store_at(url: str) -> redis.Redis:
    """The store of the verdicts."""
    try:
        return redis.Redis.from_url(url, decode_responses=True, socket_connect_timeout=5, health_check_interval=10)
    except ValueError as error:
        raise SetupError(f"{url} is no address of Redis: {error}", do="write redis://:PASSWORD@HOST:6379/0") from None


class Verdicts:
    """What is graded of one notebook.

    Args:
        store: Redis.
        key: of the notebook, see `key_of`.
    """

    def __init__(self, store: redis.Redis, key: str) -> None:
        self._store, self._key = store, f"labsupport:grading:{key}"

    def all(self) -> dict[str, dict[str, Any]]:
        """What was told, by exercise."""
        return {exercise: json.loads(told) for exercise, told in self._store.hgetall(self._key).items()}

    def add(self, told: dict[str, Any]) -> None:
        """Write down a verdict; the first one stays."""
        self._store.hsetnx(self._key, told["exercise"], json.dumps(told))
        self._store.expire(self._key, KEPT_S)

    def begun(self, exercise: str) -> int:
        """How often a worker has begun with this exercise, this time included."""
        count = self._store.incr(f"{self._key}:{exercise}")
        self._store.expire(f"{self._key}:{exercise}", KEPT_S)
        return count

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While nobody else holds them; waits for whoever does, or for the end of a dead one's lease."""
        lock = self._store.lock(f"{self._key}:lock", timeout=LEASE_S, thread_local=False)

        def renew() -> None:
            with contextlib.suppress(redis.RedisError):
                lock.reacquire()

        lock.acquire()
        try:
            with every(LEASE_S / 4, renew):
                yield
        finally:
            with contextlib.suppress(redis.RedisError):
                lock.release()


class Remote:
    """Grade tasks on other machines.

    Args:
        broker: the address of RabbitMQ.
        results: the address of Redis, or "" for `results_beside` the broker.
        modules: that hold the lessons.
    """

    def __init__(self, broker: str, results: str, modules: Sequence[str]) -> None:
        self._broker, self._results = broker, results or results_beside(broker)
        self._version = version(modules)
        self._app = application(broker, self._version)
        self._store = store_at(self._results)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
        """What the workers tell, as it comes: one dictionary for each exercise of each task.

        Raises:
            ServiceError: the broker or the store does not answer, or there is no worker.
        """
        waiting = {self._key_of(task): (task, set(task.exercises)) for task in tasks}
        try:
            yield from self._hand_out(waiting)
            yield from self._wait_for(waiting)
        finally:
            self._app.pool.force_close_all()
            self._store.close()

    def _hand_out(self, waiting: Waiting) -> Iterator[tuple[Task, dict[str, Any]]]:
        yield from self._news(waiting)  # what was graded after an earlier grader's end
        if waiting:
            self._somebody_must_be_there()
        for key, (task, left) in list(waiting.items()):
            if (size := self._send(key, task)) > LARGEST:
                why = f"its code has {size / 1e6:.0f} MB, too much to be sent; grade it without --broker"
                yield from ((task, unjudged(exercise, task.seed, why)) for exercise in sorted(left))
                del waiting[key]

    def _wait_for(self, waiting: Waiting) -> Iterator[tuple[Task, dict[str, Any]]]:
        latest = time.monotonic()
        while waiting:
            time.sleep(LOOK_S)
            for told in self._news(waiting):
                latest = time.monotonic()
                yield told
            if waiting and time.monotonic() - latest > QUIET_S:
                self._somebody_must_be_there()
                if not self._is_under_way():  # the broker or the store has lost something
                    for key, (task, _) in waiting.items():
                        self._send(key, task)
                latest = time.monotonic()

    def _key_of(self, task: Task) -> str:
        what = [self._version, task.digest, task.lesson, task.seed, task.timeout_s, task.cell_s]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def _send(self, key: str, task: Task) -> int:
        """Put a task into the queue; its size."""
        order = task.order()
        size = len(json.dumps(order))
        if size <= LARGEST:
            with self._explained():
                self._app.send_task(TASK, (key, order), retry=False)
        return size

    def _news(self, waiting: Waiting) -> Iterator[tuple[Task, dict[str, Any]]]:
        for key, (task, left) in list(waiting.items()):
            with self._explained():
                found = Verdicts(self._store, key).all()
            for exercise in [exercise for exercise in task.exercises if exercise in left & set(found)]:
                left.remove(exercise)
                yield task, found[exercise]
            if not left:
                del waiting[key]

    def _somebody_must_be_there(self) -> None:
        others: set[str] = set()
        with self._explained():
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=5)
            for timeout_s in ASK_S:
                answers = self._app.control.inspect(timeout=timeout_s).active_queues() or {}
                queues = {worker: {queue["name"] for queue in queues} for worker, queues in answers.items()}
                if any(queue_of(self._version) in names for names in queues.values()):
                    return
                others |= {
                    name for name, names in queues.items() if any(each.startswith(queue_of("")) for each in names)
                }
        if others:
            raise SetupError(
                f"The grading workers run another version of the course: {', '.join(sorted(others))}.",
                cause="a file of labsupport/ or lessons/ differs, or not every lesson can be graded there",
                do="bring all machines to the same commit without changes, and start the workers again",
            )
        raise ServiceError(
            f"No grading worker answers at {_shown(self._broker)}.",
            do="start some: python3 -m labsupport grade-worker --broker ...; then the same command goes on",
        )

    def _is_under_way(self) -> bool:
        """Whether a task waits in the queue or with a worker."""
        with self._explained(), self._app.connection_for_write() as connection:
            waiting = kombu.Queue(queue_of(self._version)).bind(connection.default_channel)
            if waiting.queue_declare(passive=True).message_count:
                return True
            inspect = self._app.control.inspect(timeout=ASK_S[-1])
            return any(tasks for asked in (inspect.active, inspect.reserved) for tasks in (asked() or {}).values())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        again = "the same command goes on where it was"
        try:
            yield
        except redis.RedisError as error:
            raise ServiceError(
                f"The store at {_shown(self._results)} does not answer.", cause=str(error), do=f"start it; {again}"
            ) from None
        except (OperationalError, AMQPError, OSError) as error:
            raise ServiceError(
                f"The broker at {_shown(self._broker)} does not answer.", cause=str(error), do=f"start it; {again}"
            ) from None


def _shown(url: str) -> str:
    """An address without its password."""
    address = urlsplit(url)
    return f"{address.scheme}://{address.hostname}:{address.port or ''}".rstrip(":")
