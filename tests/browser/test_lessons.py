"""A learner's own way: the command, the browser, *Run All Cells*, and one exercise solved by typing."""

from __future__ import annotations

import pathlib

import pytest

from labsupport.view.cards import VERDICT_MIME

ROOT = pathlib.Path(__file__).resolve().parents[2]
LESSONS = sorted(path.stem for path in (ROOT / "lessons").glob("*.ipynb"))


def verdicts(cells: list[dict]) -> list[dict]:
    outputs = [output for cell in cells for output in cell["outputs"]]
    return [output["data"][VERDICT_MIME] for output in outputs if VERDICT_MIME in output.get("data", {})]


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_by_run_all_cells(lesson, open_notebook, screenshot):
    notebook = open_notebook(f"{lesson}.ipynb")
    completed = notebook.run_all(timeout_s=420)
    cells = notebook.outputs()
    screenshot(notebook.page, lesson)
    assert [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"] == []
    assert [cell["id"] for cell in cells if not cell["count"]] == []
    assert completed
    found = verdicts(cells)
    assert found and {verdict["outcome"] for verdict in found} == {"not started"}


def test_a_typed_answer_is_checked_at_once(open_notebook, screenshot):
    notebook = open_notebook("00_start_here.ipynb")
    page = notebook.page
    answer = (
        "class Echoer(Node):\n"
        "    def on_echo(self, message, sender, ctx):\n"
        "        ctx.reply(message, EchoOk(message.number, message.payload))\n"
    )
    page.evaluate(
        """source => {
            const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
            cells.find(cell => cell.id === 'x-00-1').sharedModel.setSource(source);
        }""",
        answer,
    )
    assert notebook.run_all(timeout_s=300)
    verdict, not_started = verdicts(notebook.outputs())
    assert (verdict["outcome"], verdict["misconception"]) == ("fail", "drops_fields")
    assert not_started["outcome"] == "not started"
    card = page.locator(".lab-card", has_text="FAIL 00.1")
    card.scroll_into_view_if_needed()
    assert "trace_id" in card.inner_text()
    screenshot(page, "a_failing_check")


def test_a_prediction_can_be_chosen_with_the_keyboard(open_notebook):
    notebook = open_notebook("00_start_here.ipynb")
    assert notebook.run_all(timeout_s=300)
    question = notebook.page.locator(".widget-radio").first
    question.scroll_into_view_if_needed()
    question.locator("input").first.focus()
    notebook.page.keyboard.press("Space")
    assert question.locator("input").first.is_checked()
