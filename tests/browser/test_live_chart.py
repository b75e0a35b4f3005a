"""A queue drawn in JupyterLab while its jobs come and go, and what is left of it in the saved notebook."""

from __future__ import annotations

import re

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

START = """
import threading, time
import pika
from labsupport import LiveChart, RabbitMQ
broker = RabbitMQ().start()
connection = pika.BlockingConnection(pika.URLParameters(broker.url + "?heartbeat=0"))
channel = connection.channel()
channel.queue_declare("jobs")
"""
DRAW = """
with LiveChart(broker, "jobs") as chart:
    display(chart)
    for number in range(30):
        channel.basic_publish("", "jobs", b"job")
        time.sleep(0.02)
    chart.mark("a worker dies")
    for _ in range(3):
        method, _, _ = channel.basic_get("jobs")
        channel.basic_nack(method.delivery_tag)
    while input() != "go on":
        pass
    channel.queue_purge("jobs")
"""


def test_a_queue_is_drawn_while_a_cell_is_busy_and_its_last_picture_stays(lab, open_notebook, screenshot):
    notebook = new_notebook(cells=[new_code_cell(START), new_code_cell(DRAW), new_code_cell("broker.stop()")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = lab["course"] / "lessons" / "a_chart.ipynb"
    nbformat.write(notebook, path)
    opened = open_notebook("a_chart.ipynb")
    page = opened.page
    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    chart = page.locator(".jp-OutputArea").get_by_role("img")
    # Drawn before the cell has ended: it waits for us.
    expect(chart).to_have_attribute("aria-label", re.compile(r"30 ready \(at most 30\).* redelivered"), timeout=120_000)
    expect(chart.get_by_text("a worker dies")).to_be_visible()
    expect(page.locator(".jp-OutputArea details")).to_have_count(0)
    screenshot(page, "queue_while_it_is_drawn")
    answer = page.locator(".jp-Stdin-input")
    answer.fill("go on")
    answer.press("Enter")
    expect(page.locator(".jp-OutputArea details")).to_have_count(1, timeout=60_000)
    expect(chart).to_have_attribute("aria-label", re.compile(r"0 ready \(at most 30\)"))
    screenshot(page, "queue_when_it_is_over")
    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0, timeout=60_000)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    saved = nbformat.read(path, 4)
    kept = [output for output in saved.cells[1].outputs if output.output_type == "display_data"]
    assert "0 ready (at most 30)" in kept[0].data["text/html"] and "widgets" not in saved.metadata
