"""Celery: worker processes that take tasks from RabbitMQ and put the results into Redis."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.errors import LearnerError, ServiceError
from labsupport.services.base import Service, start_all
from labsupport.services.node import Node
from labsupport.services.wire import NotYet

if TYPE_CHECKING:
    import celery

EXAMPLE = """from celery import Celery

app = Celery("lab")


@app.task
def ready():
    return "ready"
"""


class Worker(Node):
    """One Celery worker: a process that takes tasks, and its pool of child processes that run them."""

    @property
    def pool(self) -> list[int]:
        """The process numbers of its pool."""
        import psutil

        if self.pid is None:
            return []
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def kill_pool(self) -> None:
        """End the pool (SIGKILL) under the worker, which notices and starts another: what ran there is not done."""
        self._must_be_up("kill the pool of")
        for child in self.pool:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if number == signal.SIGTERM and self._lives():
            os.kill(self._process.pid, number)  # a warm shutdown is the worker's affair: the pool finishes its tasks
        else:
            super()._signal(number)

    def __repr__(self) -> str:
        return f"{self.name} ({self.state})"


class CeleryWorkers(Service):
    """Celery workers for an application. They are ready when each has answered a ping over the broker.

    Args:
        app: the application as Celery names it ("tasks", "tasks:app"; looked for in this directory), or the path of
            its file ("tasks.py"). None is an application with nothing to do.
        broker, backend: our `RabbitMQ` and `Redis`, or an address; one that is left out is started and stopped with
            the workers. They come before what the application says of itself.
        nodes: how many workers.
        pool: how a worker runs tasks: "prefork", "threads" or "solo".
        concurrency: how many tasks a worker runs at a time.
        variables: environment variables for the workers, which inherit none of this process.

    >>> with CeleryWorkers("tasks.py", broker=rabbit, backend=redis) as workers:     # doctest: +SKIP
    ...     app = workers.connect(tasks.app)
    ...     tasks.add.delay(2, 3).get(timeout=10)

    ``nodes[0].terminate()`` is Celery's warm shutdown: the tasks in hand are finished first, and some seconds pass
    (https://docs.celeryq.dev/en/stable/userguide/workers.html#stopping-the-worker).
    """

    system = "celery"
    ready_timeout_s = 60.0
    poll_s = 0.01

    def __init__(
        self,
        app: str | Path | None = None,
        *,
        broker: Service | str | None = None,
        backend: Service | str | None = None,
        nodes: int = 2,
        pool: str = "prefork",
        concurrency: int = 1,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(nodes)
        self.app = None if app is None else str(app)
        self.broker, self.backend = broker, backend
        self.pool, self.concurrency = pool, concurrency
        self.variables = dict(variables or {})
        self._own: list[Service] = []
        self._app: celery.Celery | None = None  # to ask the workers whether they are there

    def connect(self, app: celery.Celery) -> celery.Celery:
        """Let an application of this notebook send its tasks to these workers, and return it."""
        self._must_run()
        app.conf.update(broker_url=self._broker_url, result_backend=self._backend_url)
        return app

    def leader(self, timeout_s: float = 0.0) -> Node:
        raise ServiceError(
            "Celery workers have no leader.", cause="each takes from the same queue", do="choose one of .nodes"
        )

    # ---- inside

    def _url_of(self, host: str, port: int) -> str:
        return self._broker_url

    def _start_ours(self) -> None:
        from labsupport.services import RabbitMQ, Redis

        if self.broker is None:
            self._own.append(RabbitMQ())
        if self.backend is None:
            self._own.append(Redis())
        started = list(start_all(*self._own))
        self._backend_url = _url(started.pop() if self.backend is None else self.backend)
        self._broker_url = _url(started.pop() if self.broker is None else self.broker)
        super()._start_ours()

    def _clean_up(self) -> None:
        super()._clean_up()
        if self._app is not None:
            with contextlib.suppress(Exception):  # its connections are those to a broker that may be gone
                self._app.close()
            self._app = None
        while self._own:
            self._own.pop().stop()

    def _plan(self) -> list[Node]:
        import celery

        self._app = celery.Celery("lab", broker=self._broker_url, set_as_current=False)
        if self.app is None:
            folder, name = self._directory, "lab_app"
            (folder / f"{name}.py").write_text(EXAMPLE)
        elif self.app.endswith(".py"):
            file = Path(self.app).resolve()
            if not file.is_file():
                raise LearnerError(f"There is no file {self.app}.", do="write the application into it first")
            folder, name = file.parent, file.stem
        else:
            folder, name = Path.cwd(), self.app
        return [self._worker(f"worker-{index}", folder, name) for index in range(self.size)]

    def _worker(self, name: str, folder: Path, app: str) -> Worker:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        argv = [
            *(self.program.path, "-A", app, "worker", "--hostname", self._name_of(name)),
            *("--pool", self.pool, "--concurrency", str(self.concurrency), "--loglevel", "INFO"),
            # Workers that greet each other and listen to each other take a second longer to start.
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
        variables = {
            "PYTHONPATH": str(folder),
            "PYTHONUNBUFFERED": "1",
            "CELERY_BROKER_URL": self._broker_url,
            "CELERY_RESULT_BACKEND": self._backend_url,
            **self.variables,
        }
        return Worker(self, name, 0, argv, directory, **variables)

    def _name_of(self, worker: str) -> str:
        """What Celery calls it: other workers may be at the same broker."""
        return f"{worker}@{self.password[:6]}"

    def _probe(self, node: Node, timeout_s: float) -> None:
        answer = self._app.control.ping(destination=[self._name_of(node.name)], timeout=max(timeout_s, 0.2))
        if not answer:
            raise NotYet(f"{node.name} has not answered a ping")

    def _explain_death(self, node: Node) -> Exception:
        log = node.logs(40)
        if "Unable to load celery application" in log or "Traceback" in log:
            return LearnerError(
                f"The worker cannot load the application {self.app}.",
                cause=next((line for line in reversed(log.splitlines()) if line.strip()), ""),
                do=f"import it in a new Python to see all of the error; the worker's log ends with:\n{node.logs(8)}",
            )
        return super()._explain_death(node)


def _url(service: Service | str | Any) -> str:
    return service if isinstance(service, str) else service.url
