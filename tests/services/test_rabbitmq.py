"""RabbitMQ: what a lesson does with it."""

from __future__ import annotations

from concurrent import futures
from urllib.parse import urlsplit

import pika
import pytest

from labsupport.errors import ServiceError
from labsupport.services import RabbitMQ, erlang
from labsupport.services import rabbitmq as rabbitmq_module
from labsupport.services.wire import NotYet, amqp
from tests.services.owners import processes_of, until

PERSISTENT = pika.BasicProperties(delivery_mode=2)
QUORUM = {"x-queue-type": "quorum"}


def channel_to(node):
    channel = pika.BlockingConnection(pika.URLParameters(node.url)).channel()
    channel.confirm_delivery()
    return channel


def fill(channel, queue, count, **arguments):
    channel.queue_declare(queue, durable=True, arguments=arguments or None)
    for number in range(count):
        channel.basic_publish("", queue, str(number).encode(), PERSISTENT, mandatory=True)


@pytest.fixture(scope="module")
def single():
    with RabbitMQ() as service:
        yield service


@pytest.fixture(scope="module")
def cluster():
    with RabbitMQ(nodes=3) as service:
        yield service


def test_it_is_ready_on_entry(single):
    channel = channel_to(single)
    fill(channel, "greetings", 1)
    assert channel.basic_get("greetings", auto_ack=True)[2] == b"0"


def test_nobody_gets_in_without_the_password(single):
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", single.port))


def test_a_namespace_sees_and_is_seen_by_no_other(single):
    with single.namespace() as one, single.namespace() as other:
        fill(pika.BlockingConnection(pika.URLParameters(one)).channel(), "secrets", 1)
        assert single.queue_depth("secrets", vhost=urlsplit(one).path[1:]) == (1, 0)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            pika.BlockingConnection(pika.URLParameters(other)).channel().queue_declare("secrets", passive=True)
        for place in (urlsplit(one).path, "/%2F"):
            with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
                pika.BlockingConnection(pika.URLParameters(urlsplit(other)._replace(path=place).geturl()))


def test_a_namespace_ends_with_its_connections_and_its_account():
    with RabbitMQ() as rabbit:
        with rabbit.namespace() as url:
            held = pika.BlockingConnection(pika.URLParameters(url)).channel()
            fill(held, "left behind", 3)
        with pytest.raises(pika.exceptions.AMQPError):
            held.queue_declare("more")
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            pika.BlockingConnection(pika.URLParameters(url))


def test_a_namespace_is_there_again_after_a_kill_and_a_restart():
    with RabbitMQ() as rabbit, rabbit.namespace() as url:
        channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        channel.confirm_delivery()
        fill(channel, "kept", 1)
        rabbit.nodes[0].kill()
        rabbit.nodes[0].restart()
        channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        assert channel.basic_get("kept", auto_ack=True)[2] == b"0"


def test_a_namespace_has_so_many_connections_and_queues_and_no_more(monkeypatch):
    monkeypatch.setattr(rabbitmq_module, "MOST_IN_NAMESPACE", 3)
    with RabbitMQ() as rabbit, rabbit.namespace() as url:
        first, *_ = [pika.BlockingConnection(pika.URLParameters(url)) for _ in range(3)]
        with pytest.raises(pika.exceptions.AMQPConnectionError, match="limit"):
            pika.BlockingConnection(pika.URLParameters(url))
        channel = first.channel()
        for number in range(3):
            channel.queue_declare(f"queue {number}")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="limit"):
            channel.queue_declare("one more")


def test_a_broker_that_cannot_forget_a_namespace_is_killed():
    with RabbitMQ() as rabbit:
        with rabbit.namespace():
            rabbit._ask(rabbit.nodes[0], "rabbit:stop()", timeout_s=20.0)
        assert rabbit.nodes[0].state == "stopped"


def test_a_broker_that_was_down_keeps_what_is_to_be_kept_and_has_ended_its_connections():
    with RabbitMQ() as rabbit, rabbit.namespace() as url:
        process, channel = rabbit.nodes[0].pid, pika.BlockingConnection(pika.URLParameters(url)).channel()
        channel.confirm_delivery()
        fill(channel, "kept", 1)
        channel.queue_declare("of the moment")
        with rabbit.down(), pytest.raises(pika.exceptions.AMQPConnectionError):
            pika.BlockingConnection(pika.URLParameters(url))
        with pytest.raises(pika.exceptions.AMQPError):
            channel.queue_declare("kept", passive=True)
        channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        assert channel.basic_get("kept", auto_ack=True)[2] == b"0"
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            channel.queue_declare("of the moment", passive=True)
        assert rabbit.nodes[0].pid == process


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers"])
def test_the_shortened_boot_has_every_exchange_type(kind, single):
    channel = channel_to(single)
    channel.exchange_declare(f"by-{kind}", kind)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, f"by-{kind}", "a.b", arguments={"x-match": "any", "colour": "red"})
    properties = pika.BasicProperties(headers={"colour": "red"})
    channel.basic_publish(f"by-{kind}", "a.b", b"routed", properties, mandatory=True)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"routed"


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-max-priority": 5},
        {"x-message-ttl": 60000, "x-dead-letter-exchange": "dead"},
        {"x-queue-mode": "lazy"},
        {"x-queue-type": "quorum", "x-delivery-limit": 3},
        {"x-queue-type": "stream"},
    ],
    ids=["priority", "time to live", "lazy", "quorum", "stream"],
)
def test_the_shortened_boot_has_every_kind_of_queue(arguments, single):
    channel = channel_to(single)
    fill(channel, f"queue {sorted(arguments)}", 3, **arguments)


@pytest.mark.parametrize("arguments", [{}, QUORUM], ids=["classic", "quorum"])
def test_what_was_confirmed_survives_a_kill_and_a_restart(arguments):
    with RabbitMQ() as service:
        port = service.port
        fill(channel_to(service), "jobs", 20, **arguments)
        service.nodes[0].kill()
        service.nodes[0].restart()
        assert service.port == port
        assert service.queue_depth("jobs", timeout_s=20) == (20, 0)


def test_a_queue_declared_a_moment_before_the_kill_survives_it():
    with RabbitMQ() as service:
        for number in range(4):
            channel_to(service).queue_declare(f"new-{number}", durable=True)
            service.nodes[0].kill()
            service.nodes[0].restart()
            channel_to(service).queue_declare(f"new-{number}", passive=True)


def test_the_depth_of_a_queue_counts_what_waits_and_what_is_out(single):
    for queue, arguments in (("classic", {}), ("quorum", QUORUM)):
        channel = channel_to(single)
        fill(channel, queue, 5, **arguments)
        channel.basic_get(queue)
        channel.basic_get(queue)
        assert single.queue_depth(queue) == rabbitmq_module.QueueDepth(ready=3, unacked=2)


@pytest.mark.parametrize("name", ['"', "ä€", "}", "%2F", "a'b\\", "x" * 200])
def test_a_queue_can_have_any_name(name, single):
    fill(channel_to(single), name, 1, **QUORUM)
    assert single.queue_depth(name) == (1, 0)


def test_a_queue_that_does_not_exist_is_named(single):
    with pytest.raises(ServiceError, match="no queue 'nowhere'"):
        single.queue_depth("nowhere")


def test_a_frozen_node_answers_when_it_goes_on(single):
    single.nodes[0].pause()
    assert single.nodes[0].state == "paused"
    single.nodes[0].resume()
    assert channel_to(single).is_open


def test_a_quorum_queue_outlives_its_leader(cluster):
    fill(channel_to(cluster), "orders", 10, **QUORUM)
    first = cluster.leader("orders")
    first.kill()
    second = cluster.leader("orders", timeout_s=30)
    assert second is not first
    until(lambda: cluster.queue_depth("orders").ready == 10)
    assert channel_to(second).basic_get("orders", auto_ack=True)[2] == b"0"
    first.restart()
    assert channel_to(first).basic_get("orders", auto_ack=True)[2] == b"1", "any node serves the queue"


def test_a_quorum_queue_outlives_a_leader_that_is_terminated(cluster):
    fill(channel_to(cluster), "planned", 3, **QUORUM)
    first = cluster.leader("planned")
    first.terminate()
    assert cluster.leader("planned", timeout_s=30) is not first
    first.restart()


def test_several_can_ask_a_node_at_the_same_time(single):
    fill(channel_to(single), "looked at", 3)
    with futures.ThreadPoolExecutor(4) as pool:
        depths = list(pool.map(lambda _: single.queue_depth("looked at", timeout_s=0).ready, range(40)))
    assert depths == [3] * 40


def test_a_cluster_without_a_quorum_queue_has_no_leader():
    with RabbitMQ(nodes=3) as cluster:
        with pytest.raises(ServiceError, match="no quorum queue yet"):
            cluster.leader()
        fill(channel_to(cluster), "b", 1, **QUORUM)
        fill(channel_to(cluster), "a", 1)
        assert cluster.leader() is cluster.leader("b")
        with pytest.raises(ServiceError, match="no quorum queue 'a'"):
            cluster.leader("a")


def test_stop_leaves_no_process_at_once():
    with RabbitMQ(nodes=3) as cluster:
        directory = cluster._directory
        assert len(processes_of(directory)) >= 4
    assert processes_of(directory) == []


def test_a_version_that_nobody_tried_boots_plainly(monkeypatch):
    monkeypatch.setattr(erlang, "TRIM_PROVEN", ("0.0.",))
    with RabbitMQ() as service:
        assert service._boot.level == "direct"
        fill(channel_to(service), "plain", 1)


def test_a_trimmed_boot_that_does_not_start_is_replaced_by_a_plain_one(monkeypatch, tmp_path):
    def useless(*_):
        for name in ("plugins", "flat"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "fast.boot").write_bytes(b"useless")
        return tmp_path

    monkeypatch.setattr(erlang, "_cached", useless)
    with RabbitMQ() as service:
        assert service._boot.level == "direct"
        fill(channel_to(service), "second", 1)


def test_without_a_place_for_the_cache_it_boots_plainly(monkeypatch):
    monkeypatch.setenv("LAB_CACHE_DIR", "/proc/nowhere")
    with RabbitMQ() as service:
        assert service._boot.level == "direct"


def test_the_cache_is_made_once_and_whole(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path))
    for _ in range(2):
        with RabbitMQ() as service:
            assert service._boot.level == "trimmed"
    (made,) = tmp_path.iterdir()
    assert sorted(path.name for path in made.iterdir()) == ["fast.boot", "flat", "plugins"]


def test_a_cluster_that_was_killed_as_a_whole_comes_back_node_by_node():
    with RabbitMQ(nodes=3) as cluster:
        fill(channel_to(cluster), "kept", 3, **QUORUM)
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:  # the first waits for the one that stopped last
            node.restart()
        assert cluster.queue_depth("kept", timeout_s=20) == (3, 0)


@pytest.mark.parametrize("breaks", ["partition", "pause"])
def test_a_leader_that_is_cut_off_or_frozen_is_given_up_and_joins_again(breaks):
    with RabbitMQ(nodes=3, partitions=True) as service:
        fill(channel_to(service), "parted", 3, **QUORUM)
        first = service.leader("parted")
        other = next(node for node in service.nodes if node is not first)
        if breaks == "partition":
            service.partition([[first]])
            until(lambda: not takes(first, "parted"), limit_s=60)
        else:
            first.pause()
        until(lambda: service.leader("parted", timeout_s=60) is not first, limit_s=60)
        until(lambda: takes(other, "parted"), limit_s=60)
        service.heal()
        if breaks == "pause":
            first.resume()
        until(lambda: takes(first, "parted"), limit_s=90)
        assert service.queue_depth("parted", timeout_s=30).ready >= 5


def takes(node, queue):
    """Whether a node takes a message, and confirms it."""
    try:
        with amqp.Amqp(node.port, "lab", node.service.password, timeout_s=5.0) as client:
            client.open_channel()
            client.publish(queue, b"more")
    except (OSError, EOFError, NotYet):
        return False
    return True
