"""Kafka's partitions drawn in JupyterLab while consumers come and go, in light and dark, and in the saved notebook."""

from __future__ import annotations

import re

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

START = """
import threading
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from labsupport import Assignment, Kafka

kafka = Kafka().start()
place = {"bootstrap.servers": kafka.bootstrap_servers}
admin = AdminClient(place)
admin.create_topics([NewTopic("orders", 4)])["orders"].result(60)
ends = {}

def read(name):
    ends[name] = threading.Event()
    consumer = Consumer({**place, "group.id": "billing", "client.id": name, "heartbeat.interval.ms": 300})
    consumer.subscribe(["orders"])
    while not ends[name].is_set():
        consumer.poll(0.1)
    consumer.close()

def start(name):
    threading.Thread(target=read, args=(name,), daemon=True).start()
"""
DRAW = """
with Assignment(kafka, "orders", group="billing") as picture:
    display(picture)
    while (told := input()) != "enough":
        deed, name = told.split()
        picture.mark(told)
        start(name) if deed == "start" else ends[name].set()
"""


def test_partitions_are_drawn_while_a_cell_is_busy_and_the_last_picture_stays(lab, open_notebook, screenshot):
    notebook = new_notebook(cells=[new_code_cell(START), new_code_cell(DRAW), new_code_cell("kafka.stop()")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = lab["course"] / "lessons" / "an_assignment.ipynb"
    nbformat.write(notebook, path)
    opened = open_notebook("an_assignment.ipynb")
    page = opened.page
    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    picture, answer = page.locator(".jp-OutputArea").get_by_role("img"), page.locator(".jp-Stdin-input").last

    def tell(what: str, seen: str) -> None:
        answer.fill(what)
        answer.press("Enter")
        expect(picture).to_have_attribute("aria-label", re.compile(seen), timeout=120_000)

    expect(picture).to_have_attribute("aria-label", re.compile("partition 3: nobody, lag 0"), timeout=120_000)
    tell("start one", "partition 0: one, .*partition 3: one, lag 0$")
    tell("start two", "(?=.*: one, )(?=.*: two, )")
    tell("start three", "(?=.*: one, )(?=.*: two, )(?=.*: three, )")
    expect(page.locator(".jp-OutputArea details")).to_have_count(0)
    screenshot(page, "assignment_while_it_is_drawn")
    tell("stop two", "(?=.*: one, )(?!.*: two, )(?=.*: three, )")
    answer.fill("enough")
    answer.press("Enter")
    expect(page.locator(".jp-OutputArea details")).to_have_count(1, timeout=60_000)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        expect(page.locator(f"body[data-jp-theme-name='{theme}']")).to_have_count(1)
        expect(page.locator("#jupyterlab-splash")).to_have_count(0)  # a change before it is gone removes it twice
        screenshot(page, f"assignment_{theme.split()[1].lower()}")
    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0, timeout=60_000)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    saved = nbformat.read(path, 4)
    (kept,) = [output for output in saved.cells[1].outputs if output.output_type == "display_data"]
    for form in (kept.data["text/html"], kept.data["text/plain"]):
        assert "start three" in form and "partition 0: " in form
    assert "widgets" not in saved.metadata
