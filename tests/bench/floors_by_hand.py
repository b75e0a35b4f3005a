"""Systems started by hand: what `bench_services` compares the course's services with.

Each floor makes directories and configuration before its clock starts, then spawns the programs and repeats a round
trip until it succeeds. It shares nothing with `labsupport.services` but the round trips of its `wire` package, the
guard that ends the programs of a killed benchmark, and, for RabbitMQ, the shortened boot.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from labsupport.services import Etcd, Nats, RabbitMQ, Redis, erlang, ports, reaper, sources
from labsupport.services.base import MOST_POLL_S
from labsupport.services.wire import NotYet, amqp, connect, http, patience, resp
from labsupport.services.wire import nats as wire_nats

PASSWORD = "floor"
FLAGS = ["+W", "w", "+P", "65536", "+t", "1048576", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+B", "i"]


class Bare:
    """Programs started by hand: one directory, prepared first; then `run`, then `answers` until it does not raise.

    Attributes:
        nodes: the ports of those that a client can ask, by name.
        at_end: what else is to be undone.
    """

    password = PASSWORD

    def __init__(self) -> None:
        self.directory = reaper.private_directory("floor")
        self.prepared: dict[str, tuple[list[str], Path, dict[str, str]]] = {}
        self.processes: dict[str, subprocess.Popen] = {}
        self.nodes: dict[str, int] = {}
        self.at_end = contextlib.ExitStack()

    def draw(self, count: int) -> list[int]:
        drawn = ports.draw(count)
        self.at_end.callback(ports.give_back, drawn)
        return drawn

    def prepare(self, name: str, argv: list[str], files: dict[str, str] | None = None, **variables: str) -> None:
        home = self.directory / name
        home.mkdir(exist_ok=True)
        for file, text in (files or {}).items():
            (home / file).write_text(text)
            (home / file).chmod(0o400 if file == ".erlang.cookie" else 0o600)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
        self.prepared[name] = [word.replace("HOME", str(home)) for word in argv], home, {**environment, **variables}

    def run(self, name: str) -> None:
        argv, home, environment = self.prepared[name]
        with open(home / "log", "wb") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
            self.processes[name] = subprocess.Popen(argv, cwd=home, env=reaper.env(environment), **options)

    def answers(self, ask: Callable[[float], object]) -> None:
        """Ask until it is answered; `ask` gets the timeout of the attempt."""
        timeouts, began = patience(), time.monotonic()
        while True:
            try:
                ask(next(timeouts))
                return
            except (OSError, EOFError, ValueError, KeyError, NotYet):
                waited_s = time.monotonic() - began
                if waited_s > 90:
                    raise
                time.sleep(max(0.001, min(0.01 * waited_s, MOST_POLL_S)))  # as a service of the course is asked

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes.values()]

    def kill(self, index: int) -> None:
        """End the node with this number, in the order of `nodes`."""
        process = self.processes[list(self.nodes)[index]]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes.values():
            process.wait()
        reaper.discard(self.directory)
        self.at_end.close()


# ---- the floors: each returns the function to be timed


def bare_nats(bare: Bare, count: int) -> Callable[[], None]:
    clients, routes, monitors = (bare.draw(count) for _ in range(3))
    bare.nodes = {f"n{index}": port for index, port in enumerate(clients)}
    for index in range(count):
        text = f'server_name: n{index}\nlisten: "127.0.0.1:{clients[index]}"\nhttp: "127.0.0.1:{monitors[index]}"\n'
        text += f'authorization {{ user: lab, password: "{PASSWORD}" }}\n'
        text += f'jetstream {{ store_dir: "{bare.directory}/n{index}/js", max_mem: 64MB, max_file: 256MB }}\n'
        if count > 1:
            peers = ", ".join(
                f'"nats-route://r:{PASSWORD}@127.0.0.1:{port}"' for port in routes if port != routes[index]
            )
            text += f'cluster {{ name: C, listen: "127.0.0.1:{routes[index]}", routes: [{peers}], '
            text += f'authorization {{ user: r, password: "{PASSWORD}" }} }}\n'
        bare.prepare(f"n{index}", [sources.program("nats").path, "-c", "nats.conf"], {"nats.conf": text})

    def replicated(timeout_s: float) -> None:
        with wire_nats.Nats(clients[0], "lab", PASSWORD, timeout_s=timeout_s) as client:
            client.jetstream("INFO", timeout_s=timeout_s)
            wanted = {"name": "x", "subjects": ["x"], "num_replicas": count, "storage": "memory"}
            with contextlib.suppress(NotYet):  # it exists already
                client.jetstream("STREAM.CREATE.x", wanted)
            client.jetstream("STREAM.MSG.GET.x", {"seq": json.loads(client.request("x", b"1"))["seq"]})
            client.jetstream("STREAM.DELETE.x")

    def reached(port: int, timeout_s: float) -> None:
        with wire_nats.Nats(port, "lab", PASSWORD, timeout_s=timeout_s) as client:
            client.jetstream("INFO", timeout_s=timeout_s)
            client.echo()

    def timed() -> None:
        for index in range(count):
            bare.run(f"n{index}")
        if count > 1:
            bare.answers(replicated)
        for port in clients:
            bare.answers(functools.partial(reached, port))

    return timed


def bare_redis(bare: Bare, count: int) -> Callable[[], None]:
    program = sources.program("redis").path
    servers, sentinels = bare.draw(count), bare.draw(3)
    bare.nodes = {f"r{index}": port for index, port in enumerate(servers)}
    everywhere = f"bind 127.0.0.1\ndaemonize no\nrequirepass {PASSWORD}\nmasterauth {PASSWORD}\n"
    everywhere += 'save ""\nappendonly yes\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\n'
    everywhere += "repl-ping-replica-period 1\nreplica-announce-ip 127.0.0.1\n"
    everywhere += "repl-diskless-load on-empty-db\n" * ("valkey" in program)
    for index, port in enumerate(servers):
        text = f"{everywhere}port {port}\n" + f"replicaof 127.0.0.1 {servers[0]}\n" * (index > 0)
        bare.prepare(f"r{index}", [program, "redis.conf"], {"redis.conf": text})
    identities = [secrets.token_hex(20) for _ in sentinels]
    for index, port in enumerate(sentinels):
        text = f"bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsentinel myid {identities[index]}\n"
        text += f"sentinel monitor m 127.0.0.1 {servers[0]} 2\nsentinel auth-pass m {PASSWORD}\n"
        text += "sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 5000\n"
        text += "".join(f"sentinel known-replica m 127.0.0.1 {replica}\n" for replica in servers[1:])
        text += "".join(
            f"sentinel known-sentinel m 127.0.0.1 {other} {identity}\n"
            for other, identity in zip(sentinels, identities, strict=True)
            if other != port
        )
        bare.prepare(f"s{index}", [program, "sentinel.conf", "--sentinel"], {"sentinel.conf": text})

    def written(timeout_s: float) -> None:
        with resp.Resp(servers[0], PASSWORD, timeout_s=timeout_s) as client:
            client.pipeline(("SET", "x", "1"), ("GET", "x"), ("DEL", "x"))

    def online(timeout_s: float) -> None:
        with resp.Resp(servers[0], PASSWORD) as client:
            if client.call("INFO", "replication").count("state=online") < count - 1:
                raise NotYet

    def watched(port: int, timeout_s: float) -> None:
        with resp.Resp(port, PASSWORD) as client:
            primary = client.call("SENTINEL", "MASTER", "m")
            replicas = client.call("SENTINEL", "REPLICAS", "m")
            client.call("SENTINEL", "CKQUORUM", "m")
        if "master" not in primary or any("ok" not in replica or "slave" not in replica for replica in replicas):
            raise NotYet

    def timed() -> None:
        bare.run("r0")
        bare.answers(written)
        for index in range(1, count):
            bare.run(f"r{index}")
        if count > 1:
            bare.answers(online)
            for index in range(3):
                bare.run(f"s{index}")
            for port in sentinels:
                bare.answers(functools.partial(watched, port))

    return timed


def bare_etcd(bare: Bare, count: int) -> Callable[[], None]:
    clients, peers = bare.draw(count), bare.draw(count)
    bare.nodes = {f"e{index}": port for index, port in enumerate(clients)}
    heartbeat, election = ("10", "100") if count == 1 else ("50", "500")
    cluster = ",".join(f"e{index}=http://127.0.0.1:{peer}" for index, peer in enumerate(peers))
    for index in range(count):
        client, peer = f"http://127.0.0.1:{clients[index]}", f"http://127.0.0.1:{peers[index]}"
        argv = [sources.program("etcd").path, "--name", f"e{index}", "--data-dir", "data"]
        argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
        argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster]
        argv += ["--heartbeat-interval", heartbeat, "--election-timeout", election, "--unsafe-no-fsync"]
        bare.prepare(f"e{index}", [*argv, "--initial-cluster-token", bare.directory.name, "--log-level", "warn"])

    def timed() -> None:
        for index in range(count):
            bare.run(f"e{index}")
            if index < count - 1:
                bare.answers(lambda timeout_s, index=index: http.request(peers[index], "/version", timeout_s=timeout_s))
        for port in clients:
            bare.answers(functools.partial(linearizable, port))

    def linearizable(port: int, timeout_s: float) -> None:
        http.request(port, "/v3/kv/range", {"key": "eA=="}, timeout_s=timeout_s)

    return timed


def bare_rabbitmq(bare: Bare, count: int) -> Callable[[], None]:
    found, program = erlang.find(os.environ["PATH"]), sources.program("rabbitmq")
    boot = erlang.prepare(sources.rabbitmq_home(program.path), program.version, found, bare.directory)
    clients, distribution, mapper = bare.draw(count), bare.draw(count), bare.draw(1)[0]
    bare.nodes = {f"r{index}": port for index, port in enumerate(clients)}
    names = [f"r{index}@localhost" for index in range(count)]
    bare.prepare("epmd", [found.tool("epmd"), "-port", str(mapper), "-address", "127.0.0.1"])
    for index, name in enumerate(names):
        argv = [found.tool("erlexec"), *boot.arguments, "-noinput", "-noshell", "-sname", name, "-start_epmd", "false"]
        argv += FLAGS
        argv += ["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "inetrc", '"HOME/inetrc"']
        argv += ["prevent_overlapping_partitions", "false", "-syslog", "logger", "[]", "syslog_error_logger", "false"]
        argv += ["-os_mon", "start_disksup", "false", "start_memsup", "false", "start_cpu_sup", "false"]
        if count == 1:
            argv += ["-erl_epmd_port", str(distribution[0])]
        else:
            listen = str(distribution[index])
            argv += ["-kernel", "inet_dist_listen_min", listen, "inet_dist_listen_max", listen]
            argv += ["-rabbit", "cluster_nodes", "{[%s],disc}" % ",".join(f"'{each}'" for each in names)]  # noqa: UP031
            argv += ["cluster_formation", "[{discovery_retry_limit,1},{discovery_retry_interval,10}]"]
        home = bare.directory / f"r{index}"
        files = {"inetrc": '{lookup,[file]}.\n{host,{127,0,0,1},["localhost"]}.\n', "enabled_plugins": "[].\n"}
        bare.prepare(
            f"r{index}",
            [*argv, "-s", "rabbit", "boot"],
            {**files, ".erlang.cookie": PASSWORD},
            **{f"RABBITMQ_{key}": f"{home}/{file}" for key, file in RABBITMQ_FILES.items()},
            **{"ROOTDIR": found.root, "BINDIR": found.bin, "EMU": "beam", "PROGNAME": "erl", "SYS_PREFIX": ""},
            **{"ERL_LIBS": boot.plugins, "RABBITMQ_PLUGINS_DIR": boot.plugins, "ERL_CRASH_DUMP_SECONDS": "0"},
            **{"ERL_MAX_ETS_TABLES": "50000", "ERL_MAX_PORTS": "4096", "ERL_AFLAGS": "-start_epmd false"},
            **{"RABBITMQ_NODENAME": name, "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_LOGS": "-"},
            **{"RABBITMQ_NODE_PORT": str(clients[index]), "RABBITMQ_DIST_PORT": str(distribution[index])},
            **{"RABBITMQ_DEFAULT_USER": "lab", "RABBITMQ_DEFAULT_PASS": PASSWORD, "ERL_EPMD_ADDRESS": "127.0.0.1"},
            **{"ERL_EPMD_PORT": "1" if count == 1 else str(mapper)},
        )

    def published(port: int, timeout_s: float) -> None:
        with amqp.Amqp(port, "lab", PASSWORD) as client:
            client.open_channel()
            client.declare("x", exclusive=True)
            client.publish("x", b"1")
            client.get("x")

    def replicated(timeout_s: float) -> None:
        with amqp.Amqp(clients[0], "lab", PASSWORD, timeout_s=5.0) as client:
            client.open_channel()
            client.declare("q", {"x-queue-type": "quorum", "x-quorum-initial-group-size": count}, durable=True)
            client.publish("q", b"1")
            for port in clients[1:]:
                with amqp.Amqp(port, "lab", PASSWORD, timeout_s=5.0) as elsewhere:
                    elsewhere.open_channel()
                    elsewhere.declare("q", passive=True)
            client.delete("q")

    def timed() -> None:
        if count > 1:
            bare.run("epmd")
            bare.answers(lambda timeout_s: connect(mapper, 0.2).close())
        for index in range(count):
            bare.run(f"r{index}")
        for port in clients:
            bare.answers(functools.partial(published, port))
        if count > 1:
            bare.answers(replicated)

    return timed


RABBITMQ_FILES = {
    "MNESIA_BASE": "mnesia",
    "LOG_BASE": "logs",
    "PID_FILE": "pid",
    "ENABLED_PLUGINS_FILE": "enabled_plugins",
    "CONFIG_FILE": "none.conf",
    "CONFIG_FILES": "none.d",
    "ADVANCED_CONFIG_FILE": "none.config",
    "CONF_ENV_FILE": "none-env.conf",
    "GENERATED_CONFIG_DIR": "generated",
    "SCHEMA_DIR": "schema",
}


FLOORS = {Nats: bare_nats, Redis: bare_redis, RabbitMQ: bare_rabbitmq, Etcd: bare_etcd}
