"""The pages of a graded class in Chromium: readable, without a network, and deaf to what learners have written."""

from __future__ import annotations

import dataclasses

import pytest

from labsupport.exercises import catalogue
from labsupport.grading import pages
from labsupport.grading.results import Change, Learner, Marked, Paper, Results
from labsupport.history import Outcome, Verdict

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def results():
    lesson = catalogue.lesson("12")
    first, second = lesson.exercises
    passed = Verdict(first.id, Outcome.PASS, "107 jobs, each counted once", seed=7)
    failed = Verdict(
        first.id,
        Outcome.FAIL,
        f"3 jobs were counted twice {EVIL}",
        misconception="not_idempotent",
        expected="a total of 10",
        got="a total of 13",
        evidence=("job 1 is delivered", EVIL, "job 1 is delivered again"),
        seed=7,
        replay='check("12.1", worker, seed=7)',
        printed=EVIL,
    )
    blank = Verdict(second.id, Outcome.NOT_STARTED, "the exercise cell is as it was given out", seed=7)
    ann = Paper(lesson, (Marked(first, passed, took_s=3.0), Marked(second, blank)))
    bob = Paper(
        lesson,
        (Marked(first, failed, took_s=9.0), Marked(second, blank)),
        late=True,
        change=Change(1, None, "well tried"),
    )
    learners = (Learner("Ann", "", (ann,)), Learner(f"Bob {EVIL}", "47", (bob,)))
    return Results(learners, (lesson,), (f"Bob: 12.1: {EVIL}",), 7, ("a weakness of the machine",))


@pytest.fixture
def offline(chromium):
    context = chromium.new_context(offline=True, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    yield page
    context.close()


def test_the_class_page_leads_to_each_learners_page(results, offline, tmp_path):
    pages.write(results, tmp_path)
    offline.goto((tmp_path / "index.html").as_uri())
    assert offline.locator("h1").inner_text() == "2 learners"
    assert offline.locator("caption").all_inner_texts() == ["Marks", "Distribution", "Exercises", "Misconceptions"]
    assert "not idempotent" in offline.locator("main").inner_text()
    offline.screenshot(path=tmp_path / "class.png", full_page=True)
    offline.get_by_role("link", name="Bob").click()
    assert offline.locator("h1").inner_text().endswith("1 of 8 points")
    text = offline.locator("main").inner_text()
    assert "a total of 13" in text and "well tried" in text and "Where to look" in text and "Ann" not in text
    offline.screenshot(path=tmp_path / "learner.png", full_page=True)
    assert offline.title().startswith("Bob") and offline.said == []
    assert {url.partition(":")[0] for url in offline.asked} == {"file"} and len(offline.asked) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_does_not_run_out_of_a_narrow_window_or_of_paper(results, offline, tmp_path, scheme):
    long = dataclasses.replace(results.learners[0].papers[0].marked[0].verdict, summary="x" * 300, outcome=Outcome.FAIL)
    paper = results.learners[0].papers[0]
    paper = dataclasses.replace(paper, marked=(dataclasses.replace(paper.marked[0], verdict=long),))
    results = dataclasses.replace(results, learners=(dataclasses.replace(results.learners[0], papers=(paper,)),))
    pages.write(results, tmp_path)
    offline.emulate_media(color_scheme=scheme)
    offline.set_viewport_size({"width": 400, "height": 800})
    for path in (tmp_path / "index.html", tmp_path / "learners" / "Ann.html"):
        offline.goto(path.as_uri())
        assert offline.evaluate("document.documentElement.scrollWidth") <= 400
        assert len(offline.pdf()) > 1000
        offline.screenshot(path=tmp_path / f"{scheme}-{path.stem}.png", full_page=True)
