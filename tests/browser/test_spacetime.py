"""The space-time diagram in a browser: alone in a page, exported, and in JupyterLab."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labsupport.view.spacetime_picture import SpaceTime

_place = pathlib.Path(__file__).resolve().parents[1] / "view" / "conftest.py"
_spec = importlib.util.spec_from_file_location("runs_to_draw", _place)
runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runs)

CELL = """
import sys
sys.path.insert(0, {folder!r})
from runs_to_draw import eventful
eventful()
"""


@pytest.fixture(scope="module")
def trace():
    return runs.eventful()


@pytest.fixture
def page(chromium):
    """A page without network whose console must be clean at the end."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800}, offline=True)
    context.set_default_timeout(30_000)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    assert errors == []


def opened(page, trace, style: str = ""):
    page.set_content(
        f'<!doctype html><title>A run</title><body style="{style}"><h1>A run</h1>{SpaceTime(trace).html()}'
    )
    page.locator("figure[data-live]").wait_for()
    return page.get_by_role("application")


def settled(page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def told(page) -> str:
    return page.locator(".lab-st-told").inner_text()


def place(page) -> int:
    """The place in the trace of the event that is told of."""
    return int(re.match(r"([\d,]+) of ", told(page))[1].replace(",", "")) - 1


def drawn_as(page, kind: str) -> set[int]:
    """The events in the window whose marks are drawn as one kind of relation to the chosen one."""
    settled(page)
    marks = page.locator(f"g.{kind}:has(> path[transform^='translate']:first-of-type)")
    return {int(number) for number in marks.evaluate_all("found => found.map(one => one.dataset.event)")}


def test_it_opens_at_the_violation_and_tells_of_it(page, trace, screenshot):
    stage = opened(page, trace)
    assert place(page) == len(trace) - 1 and "VIOLATION: n1 said <b>no</b>" in told(page)
    assert stage.get_by_text("VIOLATION", exact=True).is_visible()
    screenshot(page, "spacetime_violation")


def test_it_moves_where_an_editor_shows_it_first_and_then_runs_copies_of_its_scripts(page, trace):
    page.set_content("<!doctype html><title>A run</title><body>")
    page.evaluate(
        """html => {
            document.body.innerHTML = html;  // runs no script
            for (const script of [...document.scripts]) {
                const copy = document.createElement('script');
                copy.type = script.type;
                copy.text = script.text;
                document.body.append(copy);
                copy.remove();
            }
        }""",
        f"<p>Before it.</p>{SpaceTime(trace).html()}",
    )
    page.get_by_role("application").press("Home")
    assert place(page) == 0


@pytest.mark.parametrize("steps", [1, 40, 130])
def test_past_and_future_are_those_of_the_vector_clocks(page, trace, steps):
    stage = opened(page, trace)
    stage.press("Home")
    page.evaluate(
        "steps => { const next = [...document.querySelectorAll('button')].find(one => one.textContent === 'Next');"
        " for (let step = 0; step < steps; step++) next.click(); }",
        steps,
    )
    chosen = trace[place(page)]
    assert place(page) == steps
    clocked = [event for event in trace if event.clock]
    past = {event.index for event in clocked if event.before(chosen)}
    future = {event.index for event in clocked if chosen.before(event)}
    lost = sum(e.kind == "lose" and (e.cause == chosen.index or e.cause in future) for e in trace)
    assert f"‹ {len(past)} events happened before it, › {len(future) + lost} can" in told(page)
    shown_past, shown_future = drawn_as(page, "is-past"), drawn_as(page, "is-future")
    assert shown_past <= past and shown_future <= future
    assert shown_past or shown_future
    assert drawn_as(page, "is-other").isdisjoint(past | future)


def test_the_keyboard_steps_follows_a_message_and_lets_go(page, trace):
    stage = opened(page, trace)
    sent = next(e.cause for e in trace if e.kind == "deliver")
    stage.press("Home")
    while place(page) < sent:
        stage.press("ArrowRight")
    stage.press("Enter")
    arrived = trace[place(page)]
    assert arrived.kind == "deliver" and arrived.cause == sent
    stage.press("Enter")
    assert place(page) == sent
    stage.press("Escape")
    assert "of" not in told(page).split()[:2] and drawn_as(page, "is-other") == set()


def test_pointing_at_an_event_tells_its_message(page, trace):
    stage = opened(page, trace)
    stage.press("Escape")
    settled(page)
    stage.locator("g[data-event]:has(> title:text('receives ask'))").last.locator("circle").first.hover()
    assert "receives ask(number=" in told(page) and "from c1" in told(page)


def test_types_and_nodes_can_be_left_out(page, trace):
    stage = opened(page, trace)
    page.get_by_text("Show", exact=True).click()
    page.get_by_label("answer", exact=True).uncheck()
    page.get_by_label("save", exact=True).uncheck()
    page.get_by_label("n3", exact=True).uncheck()
    stage.press("End")
    settled(page)
    titles = "\n".join(stage.locator("title").all_text_contents())
    assert "ask(number=" in titles
    assert not re.search(r"answer\(|saves|\bn3 ", titles)
    for name in ("answer", "save", "n3"):
        page.get_by_label(name, exact=True).check()
    settled(page)
    assert re.search(r"answer\(", "\n".join(stage.locator("title").all_text_contents()))


def test_only_the_window_is_in_the_page_however_long_the_run_is(page):
    long = runs.eventful(until_s=9.0)
    assert len(long) > 8_000
    stage = opened(page, long)
    scrub, seen = page.get_by_role("slider"), set()
    for part in (0.2, 0.5, 0.8):
        scrub.evaluate("(one, part) => { one.value = one.max * part; one.dispatchEvent(new Event('input')); }", part)
        settled(page)
        seen.add(stage.locator("title").first.text_content())
        assert 0 < stage.locator("*").count() < 2_000
    assert len(seen) == 3
    for _ in range(12):
        page.get_by_role("button", name="Zoom out").click()
    settled(page)
    assert stage.locator("*").count() < 8_000


def test_without_scripts_the_still_picture_and_the_text_remain(chromium, trace, screenshot):
    context = chromium.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.set_content(f"<body style='background:#111;color:#eee'>{SpaceTime(trace).html()}")
    assert page.get_by_role("img", name="events on n1, n2, n3, c1").is_visible()
    page.get_by_text("The same as text").click()
    assert "VIOLATION: n1 said" in page.locator("pre").inner_text()
    screenshot(page, "spacetime_still_dark")
    context.close()


def test_an_exported_page_is_live_without_a_kernel(page, trace, tmp_path):
    exporter = HTMLExporter(template_name="basic")
    cell = new_code_cell("trace")
    cell.outputs = [new_output("execute_result", SpaceTime(trace)._repr_mimebundle_(), execution_count=1)]
    body, _ = exporter.from_notebook_node(new_notebook(cells=[cell]))
    file = tmp_path / "exported.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><title>exported</title>{body}", "utf-8")
    page.goto(file.as_uri())
    page.get_by_role("application").press("Home")
    assert place(page) == 0


def test_a_trace_is_live_in_jupyterlab_and_its_keys_are_its_own(lab, open_notebook, screenshot):
    folder = lab["course"] / "lessons"
    (folder / "runs_to_draw.py").write_text(_place.read_text("utf-8"), "utf-8")
    notebook = new_notebook(cells=[new_code_cell(CELL.format(folder=str(folder))), new_code_cell("print('next')")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "a_run.ipynb")
    opened = open_notebook("a_run.ipynb")
    assert opened.run_all(timeout_s=120)
    page = opened.page
    stage = page.get_by_role("application")
    stage.scroll_into_view_if_needed()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    stage.press("Home")
    for _ in range(3):
        stage.press("ArrowRight")
    assert place(page) == 3
    stage.press("End")
    active = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    assert place(page) > 100 and page.evaluate(active) == 0
    screenshot(page, "spacetime_in_jupyterlab")
