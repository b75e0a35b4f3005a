"""Hostile answers to lesson 12's second exercise, for brokers that are lent to one check after another."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any, NamedTuple

from labsupport.grading import release

EXERCISE, CELL = "12.2", "x-12-2"
NOTEBOOK = release.LESSONS / "12_work_queues.ipynb"
FOLDER = pathlib.Path(__file__).parent
RIGHT = (FOLDER.parents[1] / "right_answers" / EXERCISE / "per_level_exchange.py").read_text("utf-8")
WAYS = {
    "first": "attack(rabbit_url, queue)",
    "beside": "threading.Thread(target=attack, args=(rabbit_url, queue), daemon=True).start()",
    "instead": "attack(rabbit_url, queue)\n    time.sleep(600)",
    "seek": "if not attack(rabbit_url, queue):\n        raise PermissionError('refused')",
}
TOOLS = """
import base64, glob, os, re, socket, subprocess, sys, threading, time
import pika
open_connections = []

def ports():
    lines = [line.split() for line in open("/proc/net/tcp")][1:]
    return sorted({int(words[1].partition(":")[2], 16) for words in lines if words[3] == "0A"})

def enter(url):
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = parameters.stack_timeout = 3
    try: return pika.BlockingConnection(parameters)
    except Exception: return None

def straight(url):
    before, _, after = url.rpartition(":")
    mine = int(after.partition("/")[0])
    others = [port for port in ports() if port != mine]
    return next(there for port in others if enter(there := f"{before}:{port}/{after.partition('/')[2]}"))

def keep(url, queue, body, mode):
    def publish():
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            channel.queue_declare(queue, durable=True)
            while True: channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=mode))
    for _ in range(4): threading.Thread(target=publish, daemon=True).start()
"""


class Attack(NamedTuple):
    """A hostile answer: the mark that it deserves, how its code runs, and its text."""

    outcome: str
    how: str
    answer: str


def attacks() -> dict[str, Attack]:
    """Those of ``broker_attacks.txt``, by name."""
    text = (FOLDER / "broker_attacks.txt").read_text("utf-8")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("-----"))
    found = {}
    for section in text.split("\n== ")[1:]:
        heading, _, body = section.partition("\n")
        name, outcome, how = re.fullmatch(r"(\w+): (pass|fail), (\w+)", heading).groups()
        found[name] = Attack(outcome, how, _worker(body.rstrip("\n"), WAYS[how]))
    return found


def _worker(body: str, way: str) -> str:
    attack = "def attack(url, queue):\n    " + body.replace("\n", "\n    ")
    right = RIGHT.replace("def retrying_worker(", "def right_worker(")
    call = f"def retrying_worker(rabbit_url, queue, delays_ms, handle):\n    {way}"
    return f"{right}\n{TOOLS}\n{attack}\n\n{call}\n    right_worker(rabbit_url, queue, delays_ms, handle)\n"


def notebook(answer: str, learner: str) -> dict[str, Any]:
    """Lesson 12 with this answer to the exercise."""
    whole = json.loads(NOTEBOOK.read_text("utf-8"))
    (cell,) = [cell for cell in whole["cells"] if cell["id"] == CELL]
    cell["source"] = answer
    whole["metadata"]["learner"] = learner  # no two files are the same, so that each is graded
    return whole
