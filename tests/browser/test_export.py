"""A lesson that was run and exported: its pictures are there without a kernel or a network, and open to everybody."""

from __future__ import annotations

import os
import pathlib
import re
import shutil

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from playwright.sync_api import expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
LESSON = "00_start_here"
THEMES = ("light", "dark")
CELL_S = 180  # the longest a cell may take on a busy machine


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The lesson with its answers, run from top to bottom, as the pages that *Export* makes of it, by theme."""
    folder = tmp_path_factory.mktemp("exported")
    notebook = nbformat.read(ROOT / "solutions" / f"{LESSON}.ipynb", 4)
    client = NotebookClient(
        notebook,
        timeout=CELL_S,
        kernel_name="python3",
        store_widget_state=False,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    shutil.copytree(ROOT / "lessons" / "images", folder / "images")
    pages = {theme: folder / f"{theme}.html" for theme in THEMES}
    for theme, page in pages.items():
        body, _ = HTMLExporter(theme=theme).from_notebook_node(notebook, {"metadata": {"name": LESSON}})
        page.write_text(body, "utf-8")
    return pages


@pytest.fixture
def page(chromium, exported, theme):
    """The page without a network; what the exporter's own template would load from elsewhere is empty."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    context.route(
        re.compile("^https?:"), lambda route: route.fulfill(status=200, body="", content_type="text/javascript")
    )
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(exported[theme].as_uri())
    yield page
    context.close()
    assert errors == []


@pytest.mark.parametrize("theme", THEMES)
def test_diagrams_panel_tables_and_verdicts_are_there_without_a_kernel(page, theme, screenshot):
    diagrams = page.locator("figure.lab-st")
    assert diagrams.count() >= 4
    for number in range(diagrams.count()):
        expect(diagrams.nth(number).locator("svg").first).to_be_visible()
    live = page.get_by_role("application").first  # the script in the page makes it move
    live.scroll_into_view_if_needed()
    live.press("Home")
    expect(page.locator(".lab-st-told").first).to_contain_text("1 of ")
    expect(page.locator(".lab-hand")).to_have_count(1)
    expect(page.get_by_text("What can happen next:")).to_be_visible()
    panel = page.locator("section.lab-card", has_text="etcd")
    expect(panel.filter(has_text="MiB").first).to_be_visible()
    expect(page.locator("section.lab-card", has_text="PASS 00.1")).to_be_visible()
    expect(page.locator(".lab-map")).to_be_visible()
    screenshot(page, f"exported_lesson_{theme}")
    page.locator(".lab-hand").scroll_into_view_if_needed()
    screenshot(page, f"exported_by_hand_{theme}")


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_no_serious_violation_in_what_is_ours(page):
    found = Axe().run(page, context={"include": [[".jp-OutputArea-output"]]}).response
    assert found["passes"], "axe has looked at nothing"
    serious = [
        f"{each['id']}: {each['help']}: {node['target']} {node['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert serious == [], "\n".join(serious)
