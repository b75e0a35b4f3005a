"""In a notebook, a cell that lost its broker says which one, and what to do; in a real kernel."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = {
    "start": """
import asyncio, os, nats, pika, redis as client_library
from labsupport import Nats, RabbitMQ, Redis
server = Redis().start()
client = client_library.Redis.from_url(server.url, socket_timeout=0.3, retry=None)
client.set("a", 1)
""",
    "killed": "server.nodes[0].kill()\nclient.get('a')",
    "full traceback": "%tb",
    "not about a connection": "1 / 0",
    "about a file": "open('/nowhere/at/all')",
    "of another library": "raise nats.errors.NoServersError",
    "in a group": """
async def fail():
    raise ConnectionResetError("gone")
async def both():
    results = await asyncio.gather(fail(), fail(), return_exceptions=True)
    raise RuntimeError("two clients failed") from results[0]
await both()
""",
    "frozen": "server.nodes[0].restart()\nserver.nodes[0].pause()\nclient.get('a')",
    "died by itself": """
server.nodes[0].resume()
os.kill(server.nodes[0].pid, 9)
while server.nodes[0].state != "stopped": pass
client.get('a')
""",
    "run twice": "server = Redis().start()\nraise ConnectionError('some other server')",
    "a reply, not a connection": "client_library.Redis.from_url(server.url).execute_command('NOSUCHCOMMAND')",
    "nats": """
broker = Nats().start()
connection = await nats.connect(broker.url, allow_reconnect=False, max_reconnect_attempts=0)
broker.nodes[0].pause()
await connection.request("anybody", b"", timeout=0.2)
""",
    "pika": """
broker.stop()
rabbit = RabbitMQ().start()
channel = pika.BlockingConnection(pika.URLParameters(rabbit.url)).channel()
rabbit.nodes[0].kill()
channel.queue_declare("jobs")
""",
    "stopped": "rabbit.stop()\nrabbit.url",
}


@pytest.fixture(scope="module")
def shown():
    """Cell -> the error it showed (name, text without colours), run in one kernel from top to bottom."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in CELLS.values()])
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    errors = {}
    for name, cell in zip(CELLS, notebook.cells, strict=True):
        found = [output for output in cell.outputs if output.output_type == "error"]
        text = "\n".join("\n".join(output.traceback) for output in found)
        errors[name] = [output.ename for output in found], __import__("re").sub(r"\x1b\[[\d;]*m", "", text)
    return errors


@pytest.mark.parametrize(
    ("cell", "what", "client_says", "do"),
    [
        ("killed", "redis-0 of .* does not run (it was killed in this notebook)", "ConnectionError", "restart()"),
        ("in a group", "redis-0 of .* was killed in this notebook", "ConnectionResetError: gone", "restart()"),
        ("frozen", "redis-0 of .* is frozen", "TimeoutError", "resume()"),
        ("died by itself", "redis-0 of .* has ended by itself (status -9", "ConnectionError", "restart()"),
        ("nats", "nats-0 of NATS is frozen", "TimeoutError", "broker.nodes[0].resume()"),
        ("pika", "rabbit-0 of RabbitMQ does not run (it was killed", "StreamLostError", "rabbit.nodes[0].restart()"),
    ],
)
def test_a_lost_broker_is_named_in_three_lines(cell, what, client_says, do, shown):
    import re

    names, text = shown[cell]
    assert names == ["ServiceError"]
    assert len(text.splitlines()) == 3, text
    first, second, third = text.splitlines()
    assert re.search(re.escape(what).replace(r"\.\*", ".*"), first)
    assert client_says in second and "%tb" in second
    assert do in third


def test_the_full_traceback_is_one_word_away(shown):
    names, text = shown["full traceback"]
    assert names == ["ConnectionError"]
    assert "Traceback (most recent call last)" in text and "client.get('a')" in text


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("not about a connection", "ZeroDivisionError"),
        ("about a file", "FileNotFoundError"),
        ("of another library", "NoServersError"),
        ("run twice", "ConnectionError"),
        ("a reply, not a connection", "ResponseError"),
    ],
)
def test_every_other_error_is_shown_as_ever(cell, name, shown):
    names, text = shown[cell]
    assert names == [name]
    assert "Traceback (most recent call last)" in text


def test_a_service_error_of_our_own_is_left_as_it_is(shown):
    names, text = shown["stopped"]
    assert names == ["ServiceError"] and "has been stopped" in text


def test_a_start_without_a_failure_shows_no_error(shown):
    assert shown["start"] == ([], "")


def test_outside_of_a_notebook_nothing_is_installed():
    from labsupport.services import broken

    assert broken._shell() is None
    broken.install()
    assert broken._installed == []
