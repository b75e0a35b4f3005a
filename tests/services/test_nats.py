"""NATS: what a lesson does with it."""

from __future__ import annotations

import asyncio

import nats
import pytest

from labsupport.errors import ServiceError
from labsupport.services import Nats
from tests.services.owners import until


def run(coroutine):
    return asyncio.run(coroutine)


async def store(url, count, stream="ORDERS", replicas=1):
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name=stream, subjects=[f"{stream}.>"], num_replicas=replicas)
    for number in range(count):
        await jetstream.publish(f"{stream}.new", str(number).encode(), timeout=5)
    await client.close()


async def stored(urls, stream="ORDERS"):
    client = await nats.connect(urls, connect_timeout=5)
    state = (await client.jetstream(timeout=5).stream_info(stream)).state
    await client.close()
    return state.messages


@pytest.fixture(scope="module")
def single():
    with Nats() as service:
        yield service


@pytest.fixture(scope="module")
def cluster():
    with Nats(nodes=3) as service:
        yield service


def test_it_is_ready_on_entry_and_shows_no_trace_of_the_probe(single):
    async def talk():
        client = await nats.connect(single.url, allow_reconnect=False)
        inbox = await client.subscribe("greetings.*")
        await client.publish("greetings.first", b"hello")
        message = await inbox.next_msg(timeout=5)
        streams = await client.jetstream().streams_info()
        await client.close()
        return message.data, streams

    assert run(talk()) == (b"hello", [])


def test_nobody_gets_in_without_the_password(single):
    async def intrude():
        await nats.connect(f"nats://127.0.0.1:{single.port}", allow_reconnect=False, error_cb=ignore)

    async def ignore(_):
        pass

    with pytest.raises(nats.errors.Error):
        run(intrude())


def test_what_was_acknowledged_survives_a_kill_and_a_restart():
    with Nats() as service:
        port = service.port
        run(store(service.url, 20))
        service.nodes[0].kill()
        assert service.nodes[0].state == "stopped"
        service.nodes[0].restart()
        assert (service.port, run(stored(service.url))) == (port, 20)


def test_a_frozen_server_keeps_its_connections_and_answers_when_it_goes_on(single):
    async def talk():
        client = await nats.connect(single.url)
        inbox = await client.subscribe("slow")
        await client.flush()
        single.nodes[0].pause()
        await client.publish("slow", b"late, not lost")
        with pytest.raises(nats.errors.TimeoutError):
            await inbox.next_msg(timeout=0.2)
        single.nodes[0].resume()
        message = await inbox.next_msg(timeout=10)
        await client.close()
        return message.data

    assert run(talk()) == b"late, not lost"


def test_its_monitoring_port_tells_of_connections(single):
    until(lambda: single.monitor("/connz")["num_connections"] == 0)


def test_a_single_server_leads_itself_and_its_streams(single):
    run(store(single.url, 1, "ALONE"))
    assert single.leader() is single.leader("ALONE") is single.nodes[0]


def test_a_cluster_replaces_the_leader_of_a_stream(cluster):
    run(store(cluster.url, 10, "REPLICATED", replicas=3))
    first = cluster.leader("REPLICATED")
    first.kill()
    second = cluster.leader("REPLICATED", timeout_s=30)
    assert second is not first
    assert run(stored(cluster.urls, "REPLICATED")) == 10
    first.restart()
    assert [node.state for node in cluster.nodes] == ["running"] * 3
    assert run(stored(first.url, "REPLICATED")) == 10


def test_a_frozen_leader_of_a_stream_is_replaced_and_what_it_acknowledged_is_kept(cluster):
    run(store(cluster.url, 10, "FROZEN", replicas=3))
    first = cluster.leader("FROZEN")
    first.pause()
    others = [node for node in cluster.nodes if node is not first]
    until(lambda: cluster.leader("FROZEN", timeout_s=60) is not first, limit_s=60)
    assert run(stored([node.url for node in others], "FROZEN")) == 10
    first.resume()
    until(lambda: cluster.leader("FROZEN", timeout_s=60) is not first, limit_s=60)


def test_a_cluster_replaces_its_own_leader(cluster):
    first = cluster.leader()
    first.pause()
    second = cluster.leader(timeout_s=30)
    assert second is not first
    first.resume()


def test_a_cluster_is_ready_without_a_trace_of_the_probe():
    async def streams(url):
        client = await nats.connect(url)
        found = await client.jetstream(timeout=5).streams_info()
        await client.close()
        return found

    with Nats(nodes=3) as cluster:
        assert [run(streams(url)) for url in cluster.urls] == [[], [], []]


def test_without_a_majority_there_is_no_leader():
    with Nats(nodes=3) as cluster:
        for node in cluster.nodes[1:]:
            node.kill()
        with pytest.raises(ServiceError, match="no leader"):
            cluster.leader(timeout_s=0.3)


def test_a_stream_that_does_not_exist_is_named(single):
    with pytest.raises(ServiceError, match="no stream 'NOWHERE'"):
        single.leader("NOWHERE")
