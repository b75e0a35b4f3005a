"""What all services have in common: starting, stopping, breaking, and what they say when that is not possible."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

import labsupport
from labsupport import services
from labsupport.errors import LearnerError, ServiceError, SetupError
from labsupport.services import (
    Cassandra,
    DynamoDB,
    Etcd,
    Gearman,
    Kafka,
    Nats,
    RabbitMQ,
    Redis,
    ZooKeeper,
    base,
    ports,
    running_services,
    start_all,
)
from labsupport.services.node import Node
from labsupport.services.wire import resp
from tests.services.owners import listeners_of, processes_of, until

ALL = [Nats, Redis, RabbitMQ, Etcd]
HEAVY = [ZooKeeper, Kafka, Cassandra, DynamoDB]  # started as seldom as can be


@pytest.fixture
def server():
    with Redis() as service:
        yield service


@pytest.mark.parametrize("kind", ALL)
def test_a_service_runs_inside_the_with_block_only(kind):
    with kind() as service:
        (node,) = service.nodes
        pid, directory = node.pid, service._directory
        assert (node.state, node.name) == ("running", f"{kind.__name__.lower().removesuffix('mq')}-0")
        assert node.url == service.url and str(node.port) in node.url
        assert directory.stat().st_mode & 0o777 == 0o700
        assert 1 < node.memory < 500
    assert not directory.exists()
    assert processes_of(directory) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("kind", ALL)
def test_it_listens_on_the_loopback_interface_only(kind):
    with kind(nodes=3) as service:
        listeners = listeners_of(service._directory)
    assert len(listeners) >= 6
    assert all(address.startswith(("127.0.0.1:", "[::1]:")) for address in listeners), listeners


@pytest.mark.parametrize(
    "use",
    [
        lambda service: service.url,
        lambda service: service.nodes,
        lambda service: service.leader(),
        lambda service: service.logs(),
        lambda service: service.port,
    ],
    ids=["url", "nodes", "leader", "logs", "port"],
)
def test_a_service_that_does_not_run_says_so(use):
    service = Redis()
    with pytest.raises(ServiceError, match="has not been started"):
        use(service)
    service.start()
    node = service.nodes[0]
    service.stop()
    service.stop()
    with pytest.raises(ServiceError, match="has been stopped"):
        use(service)
    for deed in (node.kill, node.pause, node.resume, node.restart, node.terminate):
        with pytest.raises(ServiceError, match="has been stopped"):
            deed()


def test_a_stopped_service_can_be_started_again():
    service = Redis()
    with service:
        first = service.nodes[0].pid
    with service:
        assert service.nodes[0].pid != first


def test_starting_twice_does_nothing(server):
    pid = server.nodes[0].pid
    assert server.start() is server
    assert server.nodes[0].pid == pid


def test_an_exception_in_the_with_block_stops_it():
    with pytest.raises(ZeroDivisionError), Redis() as service:
        directory = service._directory
        1 / 0  # noqa: B018
    assert processes_of(directory) == [] and not directory.exists()


def test_a_node_that_died_by_itself_is_stopped(server):
    node = server.nodes[0]
    os.kill(node.pid, signal.SIGKILL)
    until(lambda: node.state == "stopped")
    assert (node.pid, node.memory) == (None, 0.0)
    node.restart()
    assert node.state == "running"


def test_what_cannot_be_done_to_a_node_is_refused_in_words(server):
    node = server.nodes[0]
    node.pause()
    with pytest.raises(ServiceError, match="frozen"):
        node.terminate()
    node.kill()
    for deed in (node.kill, node.pause, node.resume, node.terminate):
        with pytest.raises(ServiceError, match="is not running"):
            deed()
    with pytest.raises(ServiceError, match="no leader"):
        server.leader(timeout_s=0.05)


def test_a_node_that_runs_can_be_restarted_at_once(server):
    first = server.nodes[0].pid
    server.nodes[0].restart()
    assert server.nodes[0].pid != first


@pytest.mark.parametrize(("kind", "lock"), [(Kafka, "data/.lock"), (RabbitMQ, "pid"), (Gearman, "pid")])
def test_a_lock_file_that_a_killed_node_leaves_does_not_keep_it_from_coming_back(kind, lock):
    with kind() as service:
        node = service.nodes[0]
        node.kill()
        assert (node._directory / lock).exists()
        node.restart()
        assert node.state == "running"


def test_terminate_lets_it_shut_down_in_order(server):
    server.nodes[0].terminate()
    assert server.nodes[0].state == "stopped"
    assert "bye" in server.nodes[0].logs(5)


def test_a_broker_inherits_nothing_that_would_change_it(monkeypatch):
    for name in ("ETCD_NAME", "RABBITMQ_NODENAME", "RABBITMQ_NODE_PORT", "ERL_FLAGS", "ERL_EPMD_PORT", "http_proxy"):
        monkeypatch.setenv(name, "1")
    for service in start_all(Etcd(), RabbitMQ(), Nats()):
        service.stop()


def test_two_of_the_same_kind_do_not_meet():
    with Redis() as one, Redis() as other:
        assert one.port != other.port and one.password != other.password
        with pytest.raises(base.NotYet, match=r"WRONGPASS|invalid"), resp.Resp(one.port, other.password) as client:
            client.call("PING")


# ---- ports


@pytest.mark.parametrize("kind", ALL)
def test_a_port_of_ones_choice(kind):
    (port,) = ports.draw(1)
    with kind(port=port) as service:
        assert service.port == port


@pytest.mark.parametrize("kind", [*ALL, *HEAVY, Gearman])
def test_a_taken_port_is_reported_with_its_holder(kind):
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"Port {port} is taken by .*process {os.getpid()}"):
            kind(port=port).start()


@pytest.mark.parametrize(
    ("kind", "nodes"), [(kind, nodes) for kind in ALL for nodes in (1, 3)] + [(kind, 1) for kind in HEAVY]
)
def test_a_port_that_is_taken_between_the_draw_and_the_start_is_replaced(kind, nodes, monkeypatch):
    real, strangers = ports.draw, []

    def draw(count, **options):
        found = real(count, **options)
        if len(strangers) < 2:
            strangers.append(socket.create_server(("127.0.0.1", found[len(strangers) * (count - 1)])))
        return found

    monkeypatch.setattr(ports, "draw", draw)
    try:
        with kind(nodes=nodes) as service:
            assert len(strangers) == 2, "two starts failed, the third did not"
            assert all(node.state == "running" for node in service.nodes)
    finally:
        for stranger in strangers:
            stranger.close()


@pytest.mark.parametrize("kind", [*ALL, *HEAVY])
def test_a_stranger_of_the_same_kind_is_not_adopted(kind, monkeypatch):
    with kind() as stranger:
        real, drawn = ports.draw, []

        def draw(count, **options):
            drawn.append(real(count, **options))
            return [stranger.port, *drawn[-1][1:]] if len(drawn) == 1 else drawn[-1]

        monkeypatch.setattr(ports, "draw", draw)
        with kind() as service:
            assert service.port != stranger.port
            assert len(drawn) == 2


@pytest.mark.parametrize("arguments", [{"nodes": 0}, {"nodes": 2.5}, {"nodes": 3, "port": 5000}, {"port": 80}])
def test_what_makes_no_sense_is_the_learners_turn(arguments):
    with pytest.raises(LearnerError):
        Redis(**arguments)


def test_a_port_that_was_taken_while_its_node_was_down_is_reported(server):
    node = server.nodes[0]
    node.kill()
    with (
        socket.create_server(("127.0.0.1", node.port)),
        pytest.raises(ServiceError, match=f"Port {node.port} is taken"),
    ):
        node.restart()
    node.restart()
    assert node.state == "running"


def test_a_restart_that_fails_shows_the_last_words_at_once(server):
    node = server.nodes[0]
    node.kill()
    (node._directory / "redis-0.conf").write_text("nonsense 1\n")
    with pytest.raises(ServiceError, match=r"ended while it was starting[\s\S]*nonsense"):
        node.restart()


# ---- starting


def test_several_start_at_the_same_time():
    services = start_all(Redis(), Nats(), Etcd())
    assert set(services) <= set(running_services())
    for service in services:
        service.stop()
    assert not set(services) & set(running_services())


def test_when_one_of_several_fails_none_is_left():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        good = Redis()
        with pytest.raises(ServiceError, match="is taken"):
            start_all(good, Redis(port=stranger.getsockname()[1]))
    assert good not in running_services()


def test_a_program_that_ends_at_once_is_shown_with_its_last_words(monkeypatch, tmp_path):
    liar = tmp_path / "redis-server"
    liar.write_text("#!/bin/sh\necho Redis v=7.0.0\n[ $1 = --version ] || { echo I give up; exit 7; }\n")
    liar.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ServiceError, match=r"exit status 7[\s\S]*I give up"):
        Redis().start()


def test_a_program_that_never_answers_is_given_up(monkeypatch, tmp_path):
    mute = tmp_path / "redis-server"
    mute.write_text("#!/bin/sh\necho Redis v=7.0.0\n[ $1 = --version ] || exec sleep 600\n")
    mute.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(Redis, "ready_timeout_s", 0.5)
    service = Redis()
    with pytest.raises(ServiceError, match="in vain"):
        service.start()
    assert service not in running_services()


def test_an_interrupted_start_leaves_nothing(monkeypatch):
    seen = []

    def interrupted(self, node, timeout_s):
        seen.append(self._directory)
        raise KeyboardInterrupt

    monkeypatch.setattr(Etcd, "_probe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Etcd().start()
    assert processes_of(seen[0]) == [] and not seen[0].exists()


def test_an_interrupt_ends_all_that_start(monkeypatch):
    asked, seen = threading.Event(), []

    def never(self, node, timeout_s):
        seen.append(self._directory)
        asked.set()
        raise base.NotYet("not today")

    def interrupt():
        asked.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr(Etcd, "_probe", never)
    monkeypatch.setattr(Etcd, "ready_timeout_s", 1e6)
    store, etcd = Redis(), Etcd()
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        start_all(store, etcd)
    assert not {store, etcd} & set(running_services())
    assert processes_of(seen[0]) == [] and not seen[0].exists()


def test_a_stop_wins_against_a_restart_in_another_thread(monkeypatch):
    service = Redis().start()
    node, waiting = service.nodes[0], threading.Event()

    def never(self, node, timeout_s):
        waiting.set()
        raise base.NotYet("not today")

    monkeypatch.setattr(Redis, "_probe", never)
    errors = []

    def restart():
        try:
            node.restart()
        except ServiceError as error:
            errors.append(error)

    thread = threading.Thread(target=restart)
    thread.start()
    assert waiting.wait(10)
    directory = service._directory
    service.stop()
    thread.join(10)
    assert len(errors) == 1 and "has been stopped" in str(errors[0])
    assert processes_of(directory) == []


def test_the_course_offers_every_system_by_its_name():
    assert set(services.__all__) - set(labsupport.__all__) == {"Service", "running_services"}


def test_importing_a_service_starts_nothing_and_needs_no_client_library():
    code = (
        "import sys; from labsupport import Etcd, Nats, RabbitMQ, Redis; from labsupport.services import reaper;"
        "assert reaper.guard_pid() is None;"
        "print([name for name in ('pika', 'redis', 'nats', 'grpc', 'rich', 'psutil') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# ---- addresses of others


@pytest.mark.parametrize("kind", ALL)
def test_an_address_in_the_environment_is_used_and_nothing_is_started(kind, monkeypatch):
    with kind() as somebodys:
        monkeypatch.setenv(base.sources.PINS[kind.system].variable, somebodys.url)
        with kind() as service:
            assert service.url == somebodys.url
            assert service._directory is None
            assert service.leader().state == "running"
            for deed in ("kill", "terminate", "pause", "resume", "restart"):
                with pytest.raises(ServiceError, match="not ours"):
                    getattr(service.nodes[0], deed)()
        assert somebodys.nodes[0].state == "running", "stopping ours is not stopping theirs"


@pytest.mark.parametrize("kind", [*ALL, *HEAVY])
def test_an_address_at_which_nobody_answers_is_reported(kind, monkeypatch):
    (port,) = ports.draw(1)
    url = kind()._url_of("127.0.0.1", port)
    monkeypatch.setenv(base.sources.PINS[kind.system].variable, url)
    real = base.Service._until
    monkeypatch.setattr(base.Service, "_until", lambda *args, **options: real(*args, **{**options, "timeout_s": 0.1}))
    with pytest.raises(ServiceError, match=f"No .* answers at .*{port}") as caught:
        kind().start()
    assert kind().password not in str(caught.value)


def test_an_address_that_is_none_is_the_machines_turn(monkeypatch):
    monkeypatch.setenv("LAB_REDIS_URL", "localhost")
    with pytest.raises(SetupError, match="LAB_REDIS_URL"):
        Redis().start()


def test_a_cluster_is_our_own_although_one_address_is_given(monkeypatch):
    monkeypatch.setenv("LAB_ETCD_URL", "http://127.0.0.1:1")
    with Etcd(nodes=3) as cluster:
        assert all(type(node) is Node for node in cluster.nodes)


# ---- how it looks


def test_it_shows_itself_in_one_line_without_its_password(server):
    server.nodes[0].pause()
    line = repr(server)
    assert line.count("\n") == 0 and "redis-0 paused" in line and server.password not in line
    shown = server._repr_html_()
    assert "redis-0 paused" in shown and server.password not in shown
    server.nodes[0].kill()
    assert "redis-0 stopped" in repr(server)
    assert repr(Redis()) == "Redis, not started"


def test_its_logs_are_there(server):
    assert "Ready to accept connections" in server.logs()
    assert len(server.nodes[0].logs(2).splitlines()) == 2
