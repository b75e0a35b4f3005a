"""A verdict says the same in HTML, in plain text and to programs, and nothing in it can become markup."""

from __future__ import annotations

import dataclasses
import html
import json

import pytest

from labsupport.history import Outcome, Verdict
from labsupport.view.cards import VERDICT_MIME, HintCard, Table, VerdictCard
from labsupport.view.choices import Choices

FAILED = Verdict(
    exercise="12.1",
    outcome=Outcome.FAIL,
    summary="3 of 10 jobs are gone",
    misconception="auto_ack",
    expected="10 results",
    got="7 results",
    evidence=("job 4 delivered", "worker killed"),
    seed=7,
    replay='check("12.1", worker, seed=7)',
    printed="<script>alert(1)</script>",
)
CARD = VerdictCard(FAILED, title="crash-safe worker", misconception="The broker forgets it.", next_hint='hint("12.1")')


@pytest.mark.parametrize(
    "said",
    [
        "FAIL 12.1 · crash-safe worker",
        "3 of 10 jobs are gone",
        "auto ack",
        "The broker forgets it.",
        "10 results",
        "7 results",
        "worker killed",
    ],
)
def test_both_forms_say_all_of_it(said):
    bundle = CARD._repr_mimebundle_()
    assert said in bundle["text/plain"]
    assert said in bundle["text/html"]


def test_programs_read_the_verdict_itself():
    assert json.loads(json.dumps(CARD._repr_mimebundle_()[VERDICT_MIME])) == FAILED.as_json()


def test_what_the_learner_printed_is_shown_as_text_not_as_markup():
    page = CARD._repr_mimebundle_()["text/html"]
    assert "<script>" not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_a_word_and_a_symbol_beside_its_colour(outcome):
    card = VerdictCard(Verdict("00.1", outcome, "so it was"))
    assert outcome.value.upper() in card.text()
    assert 'aria-hidden="true"' in card.html()
    assert bool(card) is (outcome is Outcome.PASS)


def test_a_failed_run_is_drawn_beside_the_card_with_the_evidence_as_its_text(trace):
    verdict = dataclasses.replace(FAILED, trace=trace.as_json(50), again='replay("12.1", worker, seed=3)')
    bundle = VerdictCard(verdict)._repr_mimebundle_()
    card, picture = bundle["text/html"].split("</section>")
    assert "<figure" not in card and "worker killed" not in card
    assert "<script" not in VerdictCard(verdict).page(live=False)
    assert "VIOLATION" in picture and "worker killed" in picture.split("The same as text")[1]
    for form in (card, bundle["text/plain"]):
        assert html.unescape(form).count('replay("12.1", worker, seed=3)') == 1
    assert json.loads(json.dumps(bundle[VERDICT_MIME]))["trace"]["left_out"] == len(trace) - 50


def test_a_table_lines_its_columns_up_in_text():
    lines = Table("Done", ("lesson", "state"), [("00", "to do"), ("a long name", "ok")]).text().splitlines()
    assert lines[0] == "Done"
    assert {line.index(word) for line, word in zip(lines[1:], ("state", "to do", "ok"), strict=True)} == {13}


def test_hints_show_every_rung_up_to_the_one_asked_for():
    assert HintCard("12.1", 2, ("look", "ask")).text().count("of 3 to 12.1") == 2


def test_a_question_has_a_form_without_widgets():
    still = Choices("Which?", ["<one>", "two"], chosen=print)._still()
    assert "&lt;one&gt;" in still["text/html"] and "( ) two" in still["text/plain"]
