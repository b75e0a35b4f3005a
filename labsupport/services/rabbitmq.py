"""RabbitMQ: one node, or a cluster for quorum queues."""

from __future__ import annotations

import os
import secrets
from urllib.parse import unquote, urlsplit

from labsupport.errors import ServiceError
from labsupport.services import erlang, ports, sources
from labsupport.services.base import Service
from labsupport.services.node import Node
from labsupport.services.wire import NotYet, amqp


class RabbitMQ(Service):
    """A RabbitMQ node, or a cluster whose quorum queues agree by Raft; clients log in with `url`.

    Args:
        nodes: 1, or 3 (5) for a cluster.
        port: the port of a single node; a free one is chosen without it.

    >>> with RabbitMQ() as rabbit:                                # doctest: +SKIP
    ...     connection = pika.BlockingConnection(pika.URLParameters(rabbit.url))

    It is the packaged RabbitMQ, whole, but started without its start script and with its boot shortened (see `erlang`): 1 s
    instead of 3. Its settings are environment variables and arguments, never a file
    (https://www.rabbitmq.com/docs/configure#supported-environment-variables).
    """

    system = "rabbitmq"
    user = "lab"
    ready_timeout_s = 90.0
    poll_s = 0.005
    _trim = True

    def _url_of(self, host: str, port: int) -> str:
        return f"amqp://{self.user}:{self.password}@{host}:{port}/%2F"

    @property
    def urls(self) -> list[str]:
        """The addresses of all nodes."""
        return [node.url for node in self.nodes]

    def _start_ours(self) -> None:
        try:
            super()._start_ours()
        except ServiceError:
            if not self._trim or self._boot.level != "trimmed":
                raise
            self._trim = False  # perhaps the trimming is to blame: once more, plainly
            super()._start_ours()

    def _plan(self) -> list[Node]:
        self._erlang = erlang.find(os.environ.get("PATH", ""))
        home = sources.rabbitmq_home(self.program.path)
        self._boot = erlang.prepare(home, self.program.version, self._erlang, self._directory, trim=self._trim)
        self._cookie = secrets.token_hex(16)
        drawn = ports.draw(2 * self.size)
        self._ports = list(drawn)
        clients, self._distribution = drawn[: self.size], drawn[self.size :]
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        return [self._member(index, port) for index, port in enumerate(clients)]

    def _member(self, index: int, port: int) -> Node:
        name = f"rabbit-{index}"
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        cookie = directory / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)
        (directory / "enabled_plugins").write_text("[].\n")
        # Names are resolved from these two lines: no helper processes, and the machine's own name does not matter.
        (directory / "inetrc").write_text('{lookup,[file]}.\n{host,{127,0,0,1},["localhost"]}.\n')
        distribution = self._distribution[index]
        argv = [self._erlang.tool("erlexec"), *self._boot.arguments, *_machine_flags(directory, f"{name}@localhost")]
        argv += ["-erl_epmd_port", str(distribution), "-s", "rabbit", "boot"]
        variables = _settings(directory, f"{name}@localhost", port, distribution)
        variables |= _emulator(self._erlang, self._boot.plugins)
        variables |= {"RABBITMQ_DEFAULT_USER": self.user, "RABBITMQ_DEFAULT_PASS": self.password}
        return Node(self, name, port, argv, directory, **variables)

    def _probe(self, node: Node) -> None:
        _round_trip(node.port, self.user, self.password)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        vhost = unquote(address.path[1:]) or "/"
        user, password = unquote(address.username or "guest"), unquote(address.password or "guest")
        _round_trip(address.port or 5672, user, password, address.hostname, vhost)


def _round_trip(port: int, user: str, password: str, host: str = "127.0.0.1", vhost: str = "/") -> None:
    """Publish with a confirm to a queue that ends with the connection, and get the message back."""
    queue = f"lab.ready.{secrets.token_hex(4)}"
    with amqp.Amqp(port, user, password, host=host, vhost=vhost) as client:
        client.open_channel()
        client.declare(queue, exclusive=True)
        client.publish(queue, b"ready")
        if client.get(queue) != b"ready":
            raise NotYet("the message did not come back")


def _settings(directory, name: str, port: int, distribution: int) -> dict[str, str]:
    """RabbitMQ's own variables: everything below `directory`, and no configuration file that exists."""
    files = {
        "RABBITMQ_MNESIA_BASE": "mnesia",
        "RABBITMQ_LOG_BASE": "logs",
        "RABBITMQ_PID_FILE": "pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "enabled_plugins",
        "RABBITMQ_CONFIG_FILE": "none.conf",
        "RABBITMQ_CONFIG_FILES": "none.d",
        "RABBITMQ_ADVANCED_CONFIG_FILE": "none.config",
        "RABBITMQ_CONF_ENV_FILE": "none-env.conf",
        "RABBITMQ_GENERATED_CONFIG_DIR": "generated",
        "RABBITMQ_SCHEMA_DIR": "schema",
        "ERL_CRASH_DUMP": "crash.dump",
    }
    return {
        **{variable: str(directory / file) for variable, file in files.items()},
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_LOGS": "-",  # to standard output, so into our log
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": "1",  # refuses at once; anything that accepts and is not epmd would hang the start
        "ERL_CRASH_DUMP_SECONDS": "0",
        # RabbitMQ looks every 60 s whether the port mapper is there, with a small node that would start a daemon.
        "ERL_AFLAGS": "-start_epmd false",
    }


def _emulator(found: erlang.Erlang, plugins: str) -> dict[str, str]:
    """What the start script would set."""
    return {
        "ROOTDIR": found.root,
        "BINDIR": found.bin,
        "EMU": "beam",
        "PROGNAME": "erl",
        "SYS_PREFIX": "",
        "ERL_LIBS": plugins,
        "RABBITMQ_PLUGINS_DIR": plugins,
        "ERL_MAX_ETS_TABLES": "50000",
        "ERL_MAX_PORTS": "4096",
    }


def _machine_flags(directory, name: str) -> list[str]:
    """Flags of the virtual machine and settings of its applications."""
    flags = "-noinput -noshell +W w +P 65536 +t 1048576 +sbwt none +sbwtdcpu none +sbwtdio none +B i".split()
    # The distribution is up before RabbitMQ looks for it: it then does not start a second machine to wake the port mapper.
    flags += ["-sname", name, "-start_epmd", "false"]
    settings = {
        "kernel": {
            "inet_dist_use_interface": "{127,0,0,1}",
            "prevent_overlapping_partitions": "false",
            "inetrc": f'"{directory}/inetrc"',
        },
        "os_mon": {"start_disksup": "false", "start_memsup": "false", "start_cpu_sup": "false"},
        "syslog": {"logger": "[]", "syslog_error_logger": "false"},
    }
    for application, values in settings.items():
        for key, value in values.items():
            flags += [f"-{application}", key, value]
    return flags
