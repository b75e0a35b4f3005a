"""The pages of a graded class in Chromium: readable, without a network, and deaf to what learners have written."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from labsupport.exercises import catalogue
from labsupport.exercises.answer import Answer
from labsupport.exercises.checking import run_check
from labsupport.grading import pages
from labsupport.grading.results import Change, Learner, Marked, Paper, Results
from labsupport.grading.similarity import Group
from labsupport.history import Outcome, Verdict

WRONG = pathlib.Path(__file__).parents[1] / "wrong_answers"
CONTRAST = """tag => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const light = colour => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part => part / 255);
        const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = getComputedStyle(document.body).backgroundColor;
    const [dark, bright] = [light(getComputedStyle(tag).color), light(paper)].sort((one, other) => one - other);
    return (bright + 0.05) / (dark + 0.05);
}"""

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
    alike = (Group("12.1", ("Ann", f"Bob {EVIL}"), 0.9),)
    return Results(learners, (lesson,), (f"Bob: 12.1: {EVIL}",), 7, ("a weakness of the machine",), alike)


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
    captions = offline.locator("caption").all_inner_texts()
    assert captions[:4] == ["Marks", "Distribution", "Exercises", "Misconceptions"] and "alike" in captions[4]
    assert "not idempotent" in offline.locator("main").inner_text()
    offline.screenshot(path=tmp_path / "class.png", full_page=True)
    offline.get_by_role("link", name="Bob").click()
    assert offline.locator("h1").inner_text().endswith("1 of 8 points")
    text = offline.locator("main").inner_text()
    assert "a total of 13" in text and "well tried" in text and "Where to look" in text
    assert "Ann" not in text and "alike" not in text
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_failed_exercise_shows_verdict_picture_misconception_and_hint(offline, tmp_path, scheme):
    lesson = catalogue.lesson("00")
    echo, ping = lesson.exercises
    name = "drops_fields"
    failed = run_check(echo, Answer.from_file(echo.takes, WRONG / echo.id / f"{name}.py"), seed=7)
    assert failed.misconception == name and failed.trace is not None
    others = [Verdict(ping.id, outcome, "one more") for outcome in (Outcome.PASS, Outcome.UNKNOWN, Outcome.NOT_STARTED)]
    paper = Paper(lesson, (Marked(echo, failed), *(Marked(ping, verdict) for verdict in others)))
    pages.write(Results((Learner("Ann", "", (paper,)),), (lesson,), (), 7), tmp_path)
    offline.emulate_media(color_scheme=scheme)
    offline.goto((tmp_path / "learners" / "Ann.html").as_uri())
    section = offline.locator("section").filter(has_text=f"{echo.id}: 0 of")
    text = section.first.inner_text()
    assert "FAIL" in text and failed.summary in text and failed.replay in text
    assert "drops fields" in text and echo.misconceptions[name] in text and echo.hints[0] in text
    picture = section.first.locator("svg").first
    assert picture.is_visible() and picture.bounding_box()["height"] > 50
    assert [tag.evaluate(CONTRAST) >= 4.5 for tag in offline.locator(".lab-tag").all()] == [True] * 4
    offline.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    offline.emulate_media(media="print")
    assert picture.is_visible() and offline.said == []
