"""A cluster led by hand in JupyterLab: by mouse and by keyboard, forwards and backwards."""

from __future__ import annotations

import pathlib
import re
import time

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

RAFTS = pathlib.Path(__file__).resolve().parents[1] / "sim" / "rafts"

PAIR = """
from labsupport import ByHand, Node, message

@message
class Ping:
    number: int

@message
class Pong:
    number: int

class Ponger(Node):
    def on_ping(self, message, sender, ctx):
        ctx.reply(message, Pong(message.number))

class Pinger(Node):
    def on_start(self, ctx):
        self.counted = 0
        ctx.send("ponger", Ping(1))
        ctx.set_timer("again", 0.2)

    def on_timer(self, name, ctx):
        ctx.send("ponger", Ping(1))

    def on_pong(self, message, sender, ctx):
        self.counted += 1

hand = ByHand({"pinger": Pinger, "ponger": Ponger})
hand
"""
RAFT = f"""
import sys
sys.path.insert(0, {str(RAFTS)!r})
import right
raft = ByHand(right.Raft, nodes=3, clients={{"c1": right.Client}})
raft
"""

NUMBER = "print(len(hand._changed), 'follow')"


def test_messages_are_delivered_lost_and_taken_back_by_mouse_and_keyboard(lab, open_notebook, screenshot):
    notebook = new_notebook(cells=[new_code_cell(PAIR), new_code_cell(RAFT)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab["course"] / "lessons" / "by_hand.ipynb")
    opened = open_notebook("by_hand.ipynb")
    assert opened.run_all(timeout_s=120)
    page = opened.page
    pair = page.locator(".jp-CodeCell").first
    status = pair.get_by_role("status")

    deliver = pair.get_by_role("button", name="Deliver ping(number=1) from pinger to ponger", exact=True)
    deliver.focus()
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Step 1 of 1: ponger sends pong(number=1) to pinger")
    # The same button, now for the next message, still has the keyboard.
    focused = page.locator(":focus")
    expect(focused).to_have_text("Deliver pong(number=1) from ponger to pinger")
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Step 2 of 2: pinger receives pong(number=1)")
    pair.get_by_role("button", name="Timer 'again' of pinger goes off").click()
    pair.get_by_role("button", name="Lose ping(number=1)").click()
    expect(status).to_contain_text("never receives ping(number=1)")
    expect(pair.locator("td", has_text="counted=1")).to_be_visible()
    screenshot(page, "by_hand_a_lost_ping")

    back = pair.get_by_role("button", name="Back")
    back.focus()
    for left in (3, 2, 1):
        page.keyboard.press("Enter")
        expect(status).to_contain_text(f"Step {left} of 4")
    expect(pair.locator("td", has_text="counted=0")).to_be_visible()
    slider = pair.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("Step 2 of 4")
    screenshot(page, "by_hand_back")

    raft = page.locator(".jp-CodeCell").nth(1)
    raft.get_by_role("button", name="Timer 'election' of n1 goes off").click()
    fresh = re.compile("^(Deliver (?!.*again$)|Timer 'heartbeat' of n1)")
    following = raft.locator("th", has_text="follower · term 1 · commit 1")
    step = 1
    while following.count() < 2:
        raft.get_by_role("button", name=fresh).first.click()
        step += 1
        assert step < 60
        expect(raft.get_by_role("status")).to_contain_text(f"Step {step} of {step}")
    expect(raft.locator("th", has_text="n1 · leader · term 1 · commit 1")).to_be_visible()
    expect(raft.locator("td", has_text="✓ term 1")).to_have_count(3)
    view = raft.locator(".lab-st-view")
    assert view.evaluate("view => view.scrollLeft === 0 && view.scrollWidth > view.clientWidth")  # at the newest event
    raft.get_by_role("status").scroll_into_view_if_needed()
    screenshot(page, "by_hand_raft")


def test_a_display_whose_cell_has_run_again_follows_no_more(lab, open_notebook):
    notebook = new_notebook(cells=[new_code_cell(source) for source in (PAIR, "hand", NUMBER)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab["course"] / "lessons" / "by_hand_again.ipynb")
    opened = open_notebook("by_hand_again.ipynb")
    assert opened.run_all(timeout_s=120)
    page = opened.page
    again, number = page.locator(".jp-CodeCell").nth(1), page.locator(".jp-CodeCell").nth(2)

    def run(cell) -> None:
        cell.locator(".jp-InputPrompt").click()
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")

    for _ in range(3):
        run(again)
        expect(again.get_by_role("status")).to_contain_text("Step 0 of 0")
    deadline, told = time.monotonic() + 60, ""
    while told != "2 follow\n":  # the two that are seen; the browser tells of those that are gone when it likes
        assert time.monotonic() < deadline, told
        run(number)
        told = opened.outputs()[2]["outputs"][0]["text"]
