"""What a learner sees of clusters and verdicts in JupyterLab, with real processes behind it."""

from __future__ import annotations

import pathlib
import re

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
WRONG = ROOT / "tests" / "wrong_answers" / "00.2" / "counts_every_pong.py"

ETCD = """
from labsupport import Etcd, Panel
etcd = Etcd(nodes=3).start()
etcd.leader()
Panel(etcd)
"""
AWAIT = """
import asyncio
before = etcd.leader().name
while (now := etcd.leader(timeout_s=60).name) == before:
    await asyncio.sleep(0.1)
print(f"led by {now}, no longer by {before}")
"""
HISTORY = """
from labsupport import HistoryPicture
from labsupport.checkers.linearizability import linearizable
from labsupport.history import History, Operation
history = History([
    Operation("a", "write", "x", 1, called=0, returned=1), Operation("a", "write", "x", 2, called=2, returned=4),
    Operation("b", "read", "x", result=2, called=3, returned=5),
    Operation("b", "read", "x", result=1, called=6, returned=7),
])
HistoryPicture(history, linearizable(history))
"""


LINKS = """
from labsupport import Etcd, Panel
etcd = Etcd(nodes=3, partitions=True).start()
Panel(etcd)
"""
CLOSED = "etcd.stop()"


def notebook_of(lab, name: str, *sources: str) -> str:
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab["course"] / "lessons" / name)
    return name


def test_a_real_leader_is_killed_from_the_panel_while_a_cell_waits(lab, open_notebook, screenshot):
    notebook = open_notebook(notebook_of(lab, "a_panel.ipynb", ETCD, AWAIT))
    page = notebook.page
    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    row = page.locator(".widget-hbox:has(.widget-label)")
    leading = row.filter(has_text="leader")
    expect(leading).to_have_count(1, timeout=120_000)
    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(1)  # the second cell waits
    first = leading.locator(".widget-label").first.inner_text()
    kill = page.get_by_role("button", name=f"Kill {first}")
    kill.focus()
    page.keyboard.press("Enter")
    expect(row.filter(has_text=first)).to_contain_text("stopped", timeout=30_000)
    waited = page.get_by_text(f"no longer by {first}").last
    expect(waited).to_be_visible(timeout=60_000)
    expect(leading).to_have_count(1, timeout=30_000)
    assert leading.locator(".widget-label").first.inner_text() != first
    expect(kill).to_be_disabled()
    screenshot(page, "panel_after_the_kill")
    page.get_by_role("button", name=f"Restart {first}").click()
    expect(row.filter(has_text=first)).to_contain_text("running", timeout=60_000)


def test_links_of_a_real_cluster_are_cut_by_drag_and_mended_by_keyboard(lab, open_notebook, screenshot):
    notebook = open_notebook(notebook_of(lab, "links.ipynb", LINKS, CLOSED))
    page = notebook.page
    run = "() => { void window.jupyterapp.commands.execute('notebook:run-cell-and-select-next'); }"
    page.evaluate(run)
    row = page.locator(".widget-hbox:has(.widget-label)")
    expect(row.filter(has_text="leader")).to_have_count(1, timeout=120_000)
    leading = row.filter(has_text="leader").locator(".widget-label").first.inner_text()
    others = [name for name in ("etcd-0", "etcd-1", "etcd-2") if name != leading]
    for other in others:
        page.locator(f"[data-node={leading}]").drag_to(page.locator(f"[data-node={other}]"))
        expect(
            page.get_by_role("switch", name=re.compile(f"{leading}.*{other}: cut|{other}.*{leading}: cut"))
        ).to_have_count(1)
    for other in others:
        expect(row.filter(has_text=other)).to_be_visible()
    expect(row.filter(has_text="leader").filter(has_not_text=leading)).to_have_count(1, timeout=60_000)
    expect(page.get_by_role("switch", name="cut")).to_have_count(2)
    screenshot(page, "panel_a_leader_cut_off")
    page.locator("[role=switch][tabindex='0']").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        if page.locator(":focus").get_attribute("aria-checked") == "false":
            whole = page.get_by_role("switch", name="whole").count()
            page.keyboard.press("Enter")
            expect(page.get_by_role("switch", name="whole")).to_have_count(whole + 1)
    expect(page.get_by_role("switch", name="whole")).to_have_count(3)
    expect(row.filter(has_text="leader")).to_have_count(1, timeout=60_000)
    screenshot(page, "panel_links_mended")
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
    page.evaluate(run)
    expect(page.get_by_role("status").filter(has_text="This panel is closed.")).to_be_visible(timeout=30_000)


def test_the_run_of_a_failing_check_opens_at_the_event_that_is_wrong(lab, open_notebook, screenshot):
    check = 'from labsupport import check\ncheck("00.2", Pinger)'
    notebook = open_notebook(notebook_of(lab, "a_verdict.ipynb", WRONG.read_text("utf-8"), check, HISTORY))
    assert notebook.run_all(timeout_s=180)
    page = notebook.page
    card = page.locator("section.lab-card")
    expect(card).to_contain_text("FAIL 00.2")
    expect(card).to_contain_text('replay("00.2", Pinger, case=')
    stage = page.get_by_role("application")
    expect(stage.get_by_text("VIOLATION", exact=True)).to_be_visible()
    expect(page.locator(".lab-st-told")).to_contain_text("VIOLATION: ")
    stage.press("ArrowLeft")
    expect(page.locator(".lab-st-told")).not_to_contain_text("VIOLATION: ")
    screenshot(page, "failing_check_with_its_run")
    history = page.get_by_role("img", name="read(x) -> 1 saw an old value")
    history.scroll_into_view_if_needed()
    expect(history.get_by_text("3.", exact=True)).to_be_visible()
    screenshot(page, "history_with_its_proof")
