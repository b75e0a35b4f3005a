"""The proxy: what a client and a server see of each fault, and that nothing is changed where there is none.

Method: a server that echoes, real sockets on both sides, and for a few tests a real Redis and a real etcd. No test
measures a time but as "at least".
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest
import redis as redis_client

from labsupport.errors import LearnerError
from labsupport.services import Etcd, Proxy, Redis
from labsupport.services.wire import http

WAIT_S = 20.0
SILENCE_S = 0.15  # nothing is expected; on a slow machine a byte that comes too late is not noticed, never the reverse


class Echo:
    """A server that sends back what it gets, and remembers how each connection ended: "closed" or "reset"."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"echo://lab:secret@127.0.0.1:{self.listener.getsockname()[1]}/place?of=rest"
        self.received, self.ends, self.accepted = bytearray(), [], 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        end = "closed"
        with connection:
            try:
                while data := connection.recv(65536):
                    self.received += data
                    connection.sendall(data)
            except OSError:
                end = "reset"
        self.ends.append(end)


def until(condition) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def receive(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return bytes(data)


def hears_nothing(client: socket.socket) -> bool:
    client.settimeout(SILENCE_S)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(WAIT_S)
    return False


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.listener.close()


@pytest.fixture
def proxy(echo):
    with Proxy(echo.url) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(socket.create_connection(("127.0.0.1", proxy.port), WAIT_S))


@pytest.fixture
def client(connect):
    client = connect()
    client.sendall(b"hello")
    assert receive(client, 5) == b"hello"
    return client


# ---- no fault


def test_its_url_is_the_servers_with_another_port(echo, proxy):
    assert proxy.url == f"echo://lab:secret@127.0.0.1:{proxy.port}/place?of=rest"
    with Proxy(proxy.url.partition("@")[2].partition("/")[0]) as bare:  # as Kafka's and ZooKeeper's clients want it
        assert bare.url == f"127.0.0.1:{bare.port}"


def test_much_data_passes_whole_in_both_directions(proxy, connect):
    client, data = connect(), os.urandom(8_000_000)
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
    assert receive(client, len(data)) == data
    until(lambda: proxy.bytes == {"server": len(data), "client": len(data)})  # the last are counted once they are sent


def test_an_orderly_end_passes_and_the_other_direction_goes_on(echo, proxy, client):
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 10) == b"last words"
    assert client.recv(1) == b""
    until(lambda: echo.ends == ["closed"] and proxy.connections == 0)


def test_a_broken_connection_is_broken_at_the_other_end_too(echo, client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    until(lambda: echo.ends == ["reset"])


def test_a_server_that_is_down_breaks_the_connection(echo, proxy, connect):
    echo.listener.shutdown(socket.SHUT_RDWR)
    echo.listener.close()
    with pytest.raises(ConnectionError):
        client = connect()
        client.sendall(b"hello")
        receive(client, 1) or client.sendall(b"is anybody there?")
        raise ConnectionResetError("the connection had an orderly end")  # a kernel may call it that
    until(lambda: proxy.connections == 0)


def test_it_leaves_no_thread_no_port_and_no_connection(echo):
    before = threading.active_count()
    with Proxy(echo.url) as proxy, socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as client:
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"
        proxy.blackhole()
        proxy.close()
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    until(lambda: len(echo.ends) == 1)
    assert threading.active_count() <= before + 1  # that of the server, which may be ending
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), WAIT_S)
    with pytest.raises(LearnerError, match="closed"):
        proxy.heal()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_holds_no_connection_open(proxy, client):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.read(read, 1)
        os._exit(0)
    try:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


# ---- the faults


def test_latency_delays_each_direction_and_what_is_on_its_way(proxy, client):
    proxy.latency(60)
    began = time.monotonic()
    client.sendall(b"slow")
    assert receive(client, 4) == b"slow" and time.monotonic() - began >= 0.12
    proxy.latency(60, toward="client")
    proxy.latency(0, toward="server")
    began = time.monotonic()
    client.sendall(b"slow")
    assert receive(client, 4) == b"slow" and time.monotonic() - began >= 0.06
    proxy.latency(3_600_000)
    client.sendall(b"next week")
    assert hears_nothing(client)
    proxy.latency(0)
    assert receive(client, 9) == b"next week"


def test_jitter_changes_no_order(proxy, client):
    proxy.latency(5, jitter_ms=5)
    sent = b"".join(b"%4d" % number for number in range(200))
    for at in range(0, len(sent), 4):
        client.sendall(sent[at : at + 4])
    assert receive(client, len(sent)) == sent


def test_bandwidth_bounds_what_passes_in_a_second(proxy, client):
    proxy.bandwidth(500, toward="client")
    began = time.monotonic()
    client.sendall(b"x" * 150_000)
    assert len(receive(client, 150_000)) == 150_000 and time.monotonic() - began >= 0.25
    proxy.bandwidth(None)
    assert "no faults" in repr(proxy)


def test_in_a_blackhole_nothing_passes_and_after_it_all_arrives_in_order(echo, proxy, client):
    proxy.blackhole()
    client.sendall(b"one two ")
    client.sendall(b"three")
    assert hears_nothing(client) and echo.received == b"hello"
    proxy.heal()
    assert receive(client, 13) == b"one two three"


def test_a_blackhole_may_have_one_direction(echo, proxy, client):
    proxy.blackhole(toward="client")
    client.sendall(b"heard")
    until(lambda: echo.received == b"helloheard")
    assert hears_nothing(client)
    proxy.heal()
    assert receive(client, 5) == b"heard"


def test_no_new_connection_reaches_the_server_while_nothing_passes(echo, proxy, connect):
    proxy.blackhole(toward="client")
    client = connect()
    client.sendall(b"hello")
    assert hears_nothing(client) and echo.accepted == 0
    proxy.heal()
    assert receive(client, 5) == b"hello" and echo.accepted == 1


def test_a_sender_waits_when_much_has_been_swallowed(proxy, client):
    proxy.blackhole()
    client.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        client.sendall(bytes(50_000_000))


def test_a_half_open_connection_is_silent_until_its_peer_is_back_and_knows_it_not(echo, proxy, client, connect):
    proxy.half_open()
    client.sendall(b"lost")
    assert hears_nothing(client)
    second = connect()
    second.sendall(b"new")
    assert receive(second, 3) == b"new", "a new connection is not concerned"
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    second.sendall(b"still")
    assert receive(second, 5) == b"still"
    until(lambda: echo.ends == ["reset"])


def test_who_only_listens_on_a_half_open_connection_never_hears_of_it(proxy, client):
    proxy.half_open()
    proxy.heal()
    assert hears_nothing(client) and proxy.connections == 1
    client.sendall(b"?")
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_reset_breaks_both_ends_and_a_new_connection_works(echo, proxy, client, connect):
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: echo.ends == ["reset"])
    again = connect()
    again.sendall(b"again")
    assert receive(again, 5) == b"again"


def test_a_connection_is_cut_after_exactly_so_many_bytes(proxy, client, connect):
    proxy.cut_after(7, toward="client")
    for each in (client, connect()):  # counted from now, and on each connection
        each.sendall(b"twelve bytes")
        assert receive(each, 12) == b"twelve "
        each.sendall(b"anybody there?")  # no
    until(lambda: proxy.connections == 0)
    proxy.heal()
    whole = connect()
    whole.sendall(b"twelve bytes")
    assert receive(whole, 12) == b"twelve bytes"


def test_what_cannot_be_is_refused_in_words(echo, proxy):
    for wrong, words in [
        (lambda: proxy.latency(-1), "before it is sent"),
        (lambda: proxy.bandwidth(0), "carries nothing"),
        (lambda: proxy.cut_after(0), "cannot end after 0 bytes"),
        (lambda: proxy.blackhole(toward="broker"), "not 'broker'"),
        (lambda: Proxy("etcd"), "says no host and port"),
        (lambda: Proxy([echo.url]), "before one node"),
        (lambda: Proxy("127.0.0.1:1,127.0.0.1:2"), "before one node"),
    ]:
        with pytest.raises(LearnerError, match=words):
            wrong()
    assert "no faults" in repr(proxy)
    proxy.latency(20)
    assert "latency ms 20 toward the server" in repr(proxy)


# ---- real systems


def test_a_redis_client_logs_in_through_it_and_meets_its_faults():
    with Redis() as server, Proxy(server) as proxy:
        client = redis_client.Redis.from_url(proxy.url, socket_timeout=SILENCE_S, retry=None, retry_on_error=[])
        assert client.set("key", "value")
        proxy.blackhole(toward="client")
        with pytest.raises(redis_client.TimeoutError):
            client.incr("counter")
        proxy.heal()
        until(lambda: redis_client.Redis.from_url(server.url).get("counter") is not None)
        assert client.get("counter") == b"1", "the answer was lost, the effect was not"
        client.close()


def test_an_etcd_member_is_reached_through_it():
    with Etcd() as etcd, Proxy(etcd.nodes[0]) as proxy:
        assert http.request(proxy.port, "/version", timeout_s=WAIT_S)["etcdserver"]
