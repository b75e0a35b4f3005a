"""Web pages of the results: one for each learner, with that learner's data only, and one for the class.

Each is one file that needs no network and no script, can be printed, and never speaks by colour alone.
"""

from __future__ import annotations

import collections
import shutil
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from labsupport.grading.results import Learner, Marked, Paper, Results, file_names
from labsupport.grading.similarity import Group
from labsupport.history import Outcome
from labsupport.view.cards import VerdictCard

FOLDER = "learners"
TENTHS = 10

_STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--line:#c9c9c9;--bar:#0072B2;--strong:80%}
@media (prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#1b1b1b;--line:#555;--bar:#56B4E9;--strong:50%}}
main .lab-card b.lab-tag{color:color-mix(in srgb,var(--lab-accent) var(--strong),var(--ink))}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:62em;margin:2em auto;
 padding:0 1em;overflow-wrap:anywhere;--jp-ui-font-color1:var(--ink);--jp-layout-color1:var(--paper)}
table{border-collapse:collapse;margin:1em 0}caption{text-align:left;font-weight:bold;padding:4px 0;white-space:nowrap}
th,td{overflow-wrap:normal;text-align:left;vertical-align:top}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{display:inline-block;height:.8em;background:var(--bar);print-color-adjust:exact;-webkit-print-color-adjust:exact}
.note{border-left:5px solid #D55E00;padding:2px 12px}.scroll{overflow-x:auto}
a{color:inherit}@media print{body{margin:0;max-width:none}section,tr{break-inside:avoid}h2,h3{break-after:avoid}}
"""


def write(results: Results, folder: Path) -> None:
    """Write ``index.html`` and ``learners/NAME.html``; pages of an earlier run go away."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).mkdir()
    names = file_names(results.learners)
    for learner, name in zip(results.learners, names, strict=True):
        (folder / FOLDER / f"{name}.html").write_text(learner_page(learner, results.seed), "utf-8")
    (folder / "index.html").write_text(class_page(results, names), "utf-8")


def learner_page(learner: Learner, seed: int) -> str:
    """One learner's results."""
    parts = [f"<h1>{escape(learner.name)}: {learner.points:g} of {learner.of} points</h1>"]
    parts.append(
        f"<p>Every check ran on cases drawn from the seed {seed}; the line after <i>replay</i> runs the same check in "
        "your notebook.</p>"
    )
    for paper in learner.papers:
        parts += _paper(paper)
    return _page(learner.name, parts)


def _paper(paper: Paper) -> Iterator[str]:
    lesson = paper.lesson
    yield f"<h2>{lesson.number} · {escape(lesson.title)}: {paper.points:g} of {paper.of} points</h2>"
    if paper.is_late:
        cost = f"; {paper.late_percent:g} % are taken off" if paper.late_percent else ""
        yield f"<p>Handed in late{cost}.</p>"
    if paper.change.points:
        yield f"<p>Changed by hand: {paper.change.points:+g} points.</p>"
    if paper.change.comment:
        yield f'<p class="note">{escape(paper.change.comment)}</p>'
    for one in paper.marked:
        yield f"<section><h3>{one.exercise.id}: {one.points} of {one.exercise.points} points</h3>{_card(one)}"
        if one.verdict.outcome is Outcome.FAIL:
            yield f"<p><b>Where to look:</b> {escape(one.exercise.hints[0])}</p>"
        yield from (f"<p><b>Note:</b> {escape(line)}</p>" for line in one.problems)
        yield "</section>"


def _card(one: Marked) -> str:
    card = VerdictCard(
        one.verdict,
        title=one.exercise.title,
        misconception=one.exercise.misconceptions.get(one.verdict.misconception, ""),
        next_hint=f'hint("{one.exercise.id}")' if one.verdict.outcome is Outcome.FAIL else "",
    )
    return card.page(live=False)


def class_page(results: Results, names: Sequence[str]) -> str:
    """The whole class: marks, exercises, misconceptions, problems, time."""
    parts = [f"<h1>{len(results.learners)} learners</h1>", f"<p>All checks ran on the seed {results.seed}.</p>"]
    parts += [f'<p class="note"><b>Not enforced:</b> {escape(line)}</p>' for line in results.weaknesses]
    parts.append(_marks(results, names))
    parts.append(_distribution(results))
    parts.append(_exercises(results))
    parts.append(_misconceptions(results.marks))
    parts.append(_similar(results.similar))
    if results.problems:
        lines = "".join(f"<li>{escape(line)}</li>" for line in results.problems)
        parts.append(f"<h2>To look at</h2><ul>{lines}</ul>")
    return _page("Results of the class", parts)


def _marks(results: Results, names: Sequence[str]) -> str:
    rows = []
    for learner, name in zip(results.learners, names, strict=True):
        papers = [learner.paper(lesson.number) for lesson in results.lessons]
        link = f'<a href="{FOLDER}/{escape(name, quote=True)}.html">{escape(learner.name)}</a>'
        cells = [_number("" if paper is None else f"{paper.points:g}") for paper in papers]
        rows.append(
            f'<tr><th scope="row">{link}</th>{"".join(cells)}{_number(f"{learner.points:g} of {learner.of}")}</tr>'
        )
    heads = [*(f"{lesson.number} {lesson.title}" for lesson in results.lessons), "points"]
    return _table("Marks", "learner", heads, rows)


def _distribution(results: Results) -> str:
    """How many learners reached which share of the points, in tenths."""
    shares = [
        min(TENTHS - 1, int(TENTHS * one.points / one.of)) for one in results.learners if one.of and one.points >= 0
    ]
    counts = collections.Counter(shares)
    rows = [
        f'<tr><th scope="row">{10 * tenth}–{10 * (tenth + 1)} %</th>{_number(counts[tenth])}'
        f"<td>{_bar(counts[tenth], max(counts.values(), default=1))}</td></tr>"
        for tenth in reversed(range(TENTHS))
    ]
    return _table("Distribution", "share of the points", ["learners", ""], rows)


def _exercises(results: Results) -> str:
    rows = []
    for exercise in results.exercises:
        marks = [one for one in results.marks if one.exercise.id == exercise.id]
        tally = collections.Counter(one.verdict.outcome for one in marks)
        cells = "".join(_number(tally[outcome]) for outcome in Outcome)
        seconds = _number(f"{sum(one.took_s for one in marks):.1f}")
        rows.append(
            f'<tr><th scope="row">{exercise.id} {escape(exercise.title)}</th>{cells}{seconds}'
            f"<td>{_bar(tally[Outcome.PASS], len(marks))}</td></tr>"
        )
    return _table("Exercises", "exercise", [*(outcome.value for outcome in Outcome), "seconds", "passed"], rows)


def _misconceptions(marks: Iterable[Marked]) -> str:
    tally = collections.Counter(
        (one.exercise.id, one.verdict.misconception) for one in marks if one.verdict.misconception
    )
    sentences = {one.exercise.id: one.exercise.misconceptions for one in marks}
    rows = [
        f'<tr><th scope="row">{id_} {escape(name.replace("_", " "))}</th>{_number(count)}'
        f"<td>{escape(sentences[id_].get(name, ''))}</td></tr>"
        for (id_, name), count in sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    ]
    return _table("Misconceptions", "exercise and name", ["learners", "what is wrong in that thought"], rows)


def _similar(groups: Iterable[Group]) -> str:
    rows = [
        f'<tr><th scope="row">{group.exercise}</th>{_number(f"{100 * group.share:.0f} %")}'
        f"<td>{escape(', '.join(group.learners))}</td></tr>"
        for group in groups
    ]
    return _table("Answers that are alike, which proves nothing", "exercise", ["alike", "learners"], rows)


def _table(caption: str, first: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in (first, *heads))
    body = f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table><caption>{escape(caption)}</caption>{body}</table></div>'


def _number(value: object) -> str:
    return f'<td class="n">{escape(str(value))}</td>'


def _bar(part: int, whole: int) -> str:
    share = round(100 * part / whole) if whole else 0
    return f'<span class="bar" style="width:{share / 8:.1f}em" role="img" aria-label="{share} percent"></span>'


def _page(title: str, parts: Iterable[str]) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"  # nothing that a learner's code printed can ever run
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )
