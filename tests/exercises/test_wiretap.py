"""The tap of the work queue checks: what it reads on the wire, and that it holds, lets go and cuts where it is told to.

Goal: a check may believe its history. Method: a server of ten lines that answers every command, and frames that pika
itself has encoded.
"""

from __future__ import annotations

import socket
import threading
import time

import pika.frame
import pika.spec
import pytest

from labsupport.exercises.workqueues import wiretap
from labsupport.exercises.workqueues.wiretap import Wiretap, _Amqp, _Resp

WAIT_S = 10


class Store:
    """A server that notes what arrives and answers each read with +OK."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://:secret@127.0.0.1:{self.listener.getsockname()[1]}/0"
        self.received = b""
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        while data := connection.recv(65536):
            self.received += data
            connection.sendall(b"+OK\r\n")
        connection.close()
        self.over.set()


def command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


def until(condition) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def line():
    """A tap, a server behind it, and a client that is connected through it."""
    store = Store()
    with Wiretap() as tap:
        url = tap.resp(store.url)
        assert url.startswith("redis://:secret@127.0.0.1:") and url.endswith("/0")
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2].split("/")[0])), WAIT_S) as client:
            yield tap, store, client
    store.listener.close()


def test_what_passes_is_written_down_with_the_command_that_a_reply_answers(line):
    tap, _, client = line
    client.sendall(command("set", "k", "v"))
    assert client.recv(100) == b"+OK\r\n"
    assert [(event.name, event.content) for event in tap.events] == [
        ("SET", ["set", "k", "v"]),
        ("reply", ["set", "k", "v"]),
    ]
    assert tap.history("v") == ["worker -> store: set k v", "store -> worker: done: set k v"]
    assert tap.history("another") == []


def test_a_message_is_held_until_it_is_released_and_what_came_before_has_arrived(line):
    tap, store, client = line
    stop = tap.stop_at(lambda event: event.name == "DEL")
    client.sendall(command("GET", "k") + command("DEL", "k"))
    until(lambda: stop.reached)
    until(lambda: store.received == command("GET", "k"))
    stop.release()
    until(lambda: store.received == command("GET", "k") + command("DEL", "k"))


def test_a_cut_message_never_arrives_and_the_server_sees_an_orderly_end(line):
    tap, store, client = line
    stop = tap.stop_at(lambda event: event.name == "DEL")
    client.sendall(command("GET", "k") + command("DEL", "k"))
    until(lambda: stop.reached)
    client.close()
    stop.cut()
    tap.settle(WAIT_S)
    assert store.over.wait(WAIT_S)
    assert store.received == command("GET", "k")


def test_a_flood_ends_the_connection_before_it_fills_the_memory_of_the_check(line, monkeypatch):
    tap, store, client = line
    monkeypatch.setattr(wiretap, "MOST_HEARD", 1000)
    client.sendall(command("SET", "k", "v" * 500))
    until(lambda: tap.events)
    assert not tap.is_full
    client.sendall(command("SET", "k", "v" * 500))
    assert store.over.wait(WAIT_S)
    assert tap.is_full and store.received == command("SET", "k", "v" * 500)


def test_a_mistake_in_a_condition_is_raised_where_the_check_waits(line):
    tap, _, client = line
    stop = tap.stop_at(lambda event: event.no_such_field)
    client.sendall(command("GET", "k"))

    def reached() -> bool:
        try:
            return stop.reached
        except AttributeError:
            return True

    until(reached)
    with pytest.raises(AttributeError):
        _ = stop.reached


@pytest.mark.parametrize(
    "reply", [b"$5\r\nhello\r\n", b"*2\r\n:1\r\n$-1\r\n", b"%1\r\n+a\r\n*1\r\n#t\r\n", b"$0\r\n\r\n", b"*0\r\n"]
)
def test_a_reply_is_whole_only_with_its_last_byte(reply):
    protocol = _Resp("worker")
    protocol.split(command("GET", "k"), True)
    assert [protocol.split(reply[:size], False)[0] for size in range(len(reply))] == [0] * len(reply)
    assert protocol.split(reply + b"+next\r\n", False)[0] == len(reply)


def frames(method, body: bytes | None = None) -> bytes:
    data = pika.frame.Method(1, method).marshal()
    if body is not None:
        data += pika.frame.Header(1, len(body), pika.spec.BasicProperties()).marshal()
        data += b"".join(pika.frame.Body(1, body[at : at + 4]).marshal() for at in range(0, len(body), 4))
    return data


def test_a_delivery_is_one_message_with_its_body():
    data = frames(pika.spec.Basic.Deliver("c", 1, False, "", "q"), b"first job")
    protocol = _Amqp("worker")
    assert [protocol.split(data[:size], False)[0] for size in range(len(data))] == [0] * len(data)
    size, [event] = protocol.split(data, False)
    assert (size, event.name, event.bodies) == (len(data), "Basic.Deliver", (b"first job",))


def test_an_acknowledgement_names_the_messages_that_it_settles():
    protocol = _Amqp("worker")
    for tag in range(1, 6):
        protocol.split(frames(pika.spec.Basic.Deliver("c", tag, False, "", "q"), b"job %d" % tag), False)

    def settled(method) -> tuple[bytes, ...]:
        return protocol.split(frames(method), True)[1][0].bodies

    assert settled(pika.spec.Basic.Ack(2)) == (b"job 2",)
    assert settled(pika.spec.Basic.Ack(2)) == ()
    assert settled(pika.spec.Basic.Nack(3, multiple=True)) == (b"job 1", b"job 3")
    assert settled(pika.spec.Basic.Ack(0, multiple=True)) == (b"job 4", b"job 5")
