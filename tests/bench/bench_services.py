"""How long a service takes until it answers, against the bare program started by hand with the same settings.

The floor prepares directories and configuration before its clock starts, then spawns the programs and repeats the
same round trip until it succeeds. It shares nothing with `labsupport.services` but the round trips of its `wire`
package and, for RabbitMQ, the shortened boot. Floor and service take turns in one process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from labsupport.services import (
    Cassandra,
    DynamoDB,
    Etcd,
    Kafka,
    Nats,
    RabbitMQ,
    Redis,
    ZooKeeper,
    erlang,
    ports,
    sources,
)
from labsupport.services.wire import NotYet, amqp, http, patience, resp
from labsupport.services.wire import nats as wire_nats
from tests.bench import floors_java

ROUNDS, QUICK_ROUNDS = 7, 3
# Times as many where the time is short, and where the wait for an election, drawn by lot, is most of it: a single etcd
# waits 10 to 100 ms, three 50 to 500, and with 49 rounds two medians of the same thing were still a fifth apart.
MORE_ROUNDS = {(Nats, 1): 5, (Redis, 1): 3, (Nats, 3): 12, (Etcd, 3): 25, (Etcd, 1): 40}
GOAL = 1.10
PASSWORD = "floor"
FLAGS = "+W w +P 65536 +t 1048576 +sbwt none +sbwtdcpu none +sbwtdio none +B i"


class Bare:
    """Programs started by hand: one directory, prepared first; then `run`, then `answers` until it does not raise."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="floor-"))
        self.prepared: dict[str, tuple[list[str], Path, dict[str, str]]] = {}
        self.processes: list[subprocess.Popen] = []

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
            self.processes.append(subprocess.Popen(argv, cwd=home, env=environment, **options))

    def answers(self, ask: Callable[[float], object]) -> None:
        """Ask until it is answered; `ask` gets the timeout of the attempt."""
        timeouts, end = patience(), time.monotonic() + 90
        while True:
            try:
                ask(next(timeouts))
                return
            except (OSError, EOFError, ValueError, KeyError, NotYet):
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def stop(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


# ---- the floors: each returns the function to be timed


def bare_nats(bare: Bare, count: int) -> Callable[[], None]:
    clients, routes, monitors = (ports.draw(count) for _ in range(3))
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
    servers, sentinels = ports.draw(count), ports.draw(3)
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
    clients, peers = ports.draw(count), ports.draw(count)
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
    clients, distribution, mapper = ports.draw(count), ports.draw(count), ports.draw(1)[0]
    names = [f"r{index}@localhost" for index in range(count)]
    bare.prepare("epmd", [found.tool("epmd"), "-port", str(mapper), "-address", "127.0.0.1"])
    for index, name in enumerate(names):
        argv = [found.tool("erlexec"), *boot.arguments, "-noinput", "-noshell", "-sname", name, "-start_epmd", "false"]
        argv += [
            "+W",
            "w",
            "+P",
            "65536",
            "+t",
            "1048576",
            "+sbwt",
            "none",
            "+sbwtdcpu",
            "none",
            "+sbwtdio",
            "none",
            "+B",
            "i",
        ]
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
            bare.answers(lambda timeout_s: connect_and_close(mapper))
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


def connect_and_close(port: int) -> None:
    from labsupport.services.wire import connect

    connect(port, 0.2).close()


# ---- the comparison

FLOORS = {Nats: bare_nats, Redis: bare_redis, RabbitMQ: bare_rabbitmq, Etcd: bare_etcd, **floors_java.FLOORS}
CASES = [(kind, nodes) for kind in (Nats, Redis, Etcd, RabbitMQ, ZooKeeper, Kafka, Cassandra) for nodes in (1, 3)]
CASES += [(DynamoDB, 1)]


def floor_ms(kind: type, nodes: int) -> float:
    bare = Bare()
    try:
        timed = FLOORS[kind](bare, nodes)
        began = time.perf_counter()
        timed()
        return (time.perf_counter() - began) * 1000
    finally:
        bare.stop()


def service_ms(kind: type, nodes: int) -> float:
    service = kind(nodes=nodes)
    began = time.perf_counter()
    service.start()
    took = (time.perf_counter() - began) * 1000
    service.stop()
    return took


def rows(quick: bool = False) -> Iterator[dict]:
    """For each system, single and as a cluster: median milliseconds of the service and of the floor."""
    for kind, nodes in CASES:
        service_ms(kind, nodes), floor_ms(kind, nodes)  # programs in memory, the guard and the caches there
        more = MORE_ROUNDS.get((kind, nodes), 1)
        rounds = QUICK_ROUNDS * max(1, more // 3) if quick else ROUNDS * more
        ours, floors = [], []
        for turn in range(rounds):
            for measure, into in ((floor_ms, floors), (service_ms, ours))[:: 1 if turn % 2 else -1]:
                into.append(measure(kind, nodes))
        value, baseline = statistics.median(ours), statistics.median(floors)
        yield {
            "case": f"{kind.__name__}(nodes={nodes}), start to first answer",
            "value": round(value, 1),
            "unit": "ms",
            "baseline": "the bare program by hand",
            "baseline_value": round(baseline, 1),
            "ratio": round(value / baseline, 3),
            "goal": f"at most {GOAL} times the bare program",
            "holds": value <= GOAL * baseline,
        }
