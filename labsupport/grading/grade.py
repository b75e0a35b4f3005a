"""Grade a class: find what was handed in, grade what is not graded yet, write the results.

    python3 -m labsupport grade SUBMISSIONS... --out RESULTS

Interrupted or killed, the same command goes on where it was: RESULTS/journal.jsonl has what is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from labsupport.errors import LearnerError
from labsupport.exercises.catalogue import Exercise
from labsupport.grading import isolation, pages, results, similarity, submissions
from labsupport.grading.assemble import Pristine
from labsupport.grading.grader import machine
from labsupport.grading.journal import Journal, Key
from labsupport.grading.notebooks import Unreadable, read
from labsupport.grading.pool import Pool, Task
from labsupport.grading.submissions import Submission
from labsupport.grading.worker import lessons
from labsupport.history import Outcome
from labsupport.services import supplies


@dataclasses.dataclass(frozen=True)
class Handed:
    """One notebook that will be graded: whose, which lesson's, the SHA-256 of its bytes, and the answers in it."""

    submission: Submission
    pristine: Pristine
    digest: str
    answers: Mapping[str, str]


class Place(Protocol):
    """Where tasks are graded: this machine, or others."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
        """One answer for each exercise of each task, as they come (see `labsupport.grading.worker`)."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a class is graded.

    Args:
        jobs: grading processes; 0 means one for each core, and more as long as they leave the cores idle.
        seed: what the checks' cases are drawn from; None: the one of the last time in this folder, or a new one.
        only: ids of exercises; none means all.
        timeout_s: for one exercise's check.
        cell_s: for each of the learner's cells; one that defines a function takes a millisecond.
        late_percent: what a late lesson costs.
        changes: what `labsupport.grading.results.changes` has read.
        modules: that hold the lessons; none means the course.
        path: directories in which those modules are.
        limits: of the sandbox.
        broker, results: addresses of RabbitMQ and Redis if other machines grade, see `labsupport.grading.remote`.
    """

    jobs: int = 0
    seed: int | None = None
    only: tuple[str, ...] = ()
    timeout_s: float = 300.0
    cell_s: float = 20.0
    late_percent: float = 0.0
    changes: Mapping[tuple[str, str], results.Change] = dataclasses.field(default_factory=dict)
    modules: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    limits: isolation.Limits = dataclasses.field(default_factory=isolation.Limits)
    broker: str = ""
    results: str = ""


def grade(places: Sequence[str], out: Path, options: Options, progress: Callable[[int, int], None]) -> results.Results:
    """Grade a class and write all results into a folder.

    Args:
        places: folders, zip files and notebooks.
        out: the folder for the results, which also has the journal.
        options: how.
        progress: called with how many exercises are done, and of how many.

    Raises:
        LearnerError: there is nothing to grade, or an option is not understood.
        SetupError: what a lesson needs cannot be had.
    """
    pristine, problems = lessons(options.modules)
    chosen = _chosen(list(pristine.values()), options.only)
    handed = _handed(places, list(pristine.values()), out, problems)
    out.mkdir(parents=True, exist_ok=True)
    with Journal(out) as journal:
        seed = next(value for value in (options.seed, journal.seed, secrets.randbelow(10**6)) if value is not None)
        journal.begin(seed)
        asked = [(one, _of(one.pristine, chosen)) for one in handed]
        tasks = _tasks(asked, journal, seed, options)
        for number in sorted({task.lesson for task in tasks}) if not options.broker else ():
            supplies.bring(number)  # grading processes have no network
        total = sum(len(ids) for _, ids in asked)
        _run(tasks, journal, _place(list(pristine), options), total, progress)
        found = _results(asked, journal, seed, options, problems)
    found.write(out)
    pages.write(found, out)
    return found


def _chosen(pristine: Sequence[Pristine], only: Sequence[str]) -> set[str]:
    known = {exercise.id for one in pristine for exercise in one.lesson.exercises}
    if unknown := sorted(set(only) - known):
        raise LearnerError(f"there is no exercise {', '.join(unknown)}", do=f"choose from {', '.join(sorted(known))}")
    return set(only) or known


def _of(pristine: Pristine, chosen: set[str]) -> list[str]:
    return [exercise.id for exercise in pristine.lesson.exercises if exercise.id in chosen]


def _handed(places: Sequence[str], pristine: Sequence[Pristine], out: Path, problems: list[str]) -> list[Handed]:
    """What counts of all that was found: for each learner and lesson the latest notebook."""
    found, passed_over = submissions.find(places)
    problems += passed_over
    inside = f"{out.resolve()}{os.sep}"
    latest: dict[tuple[str, str, str], Handed] = {}
    for one in found:
        if str(Path(one.path).resolve()).startswith(inside):
            continue
        try:
            data = one.data()
            cells, _ = read(data)
        except (OSError, Unreadable) as error:
            problems.append(f"{one.learner}: {one.name}: {error}")
            continue
        likeness = {lesson.lesson.number: lesson.likeness(cells, one.name) for lesson in pristine}
        best = max(pristine, key=lambda lesson, likeness=likeness: likeness[lesson.lesson.number])
        if not likeness[best.lesson.number]:
            problems.append(f"{one.learner}: {one.name}: none of its cells is of one of the lessons")
            continue
        handed = Handed(_named(one, best), best, hashlib.sha256(data).hexdigest(), best.written(cells))
        key = (handed.submission.learner, handed.submission.id, best.lesson.number)
        other = latest.get(key)
        if other:
            newer, older = sorted([handed, other], key=lambda each: each.submission.attempt, reverse=True)
            problems.append(
                f"{one.learner}: handed in lesson {key[2]} more than once; {newer.submission.name} is graded, "
                f"{older.submission.name} is older"
            )
            handed = newer
        latest[key] = handed
    if not latest and not problems:
        raise LearnerError(f"there is no notebook in {', '.join(places)}", do="name a folder, a zip file or notebooks")
    return [latest[key] for key in sorted(latest)]


def _named(one: Submission, pristine: Pristine) -> Submission:
    """The submission with its learner's name freed from the lesson's."""
    name = one.learner.removesuffix(pristine.lesson.notebook).rstrip("_- ")
    return dataclasses.replace(one, learner=name or Path(one.path).resolve().parent.name or "(no name)")


def _key(one: Handed, exercise: str, seed: int) -> Key:
    return (one.digest, one.pristine.lesson.number, exercise, seed)


def _tasks(asked: Sequence[tuple[Handed, list[str]]], journal: Journal, seed: int, options: Options) -> list[Task]:
    """What is not in the journal; two equal notebooks are one task."""
    tasks: dict[tuple[str, str], Task] = {}
    for one, ids in asked:
        left = tuple(exercise for exercise in ids if _key(one, exercise, seed) not in journal.entries)
        number = one.pristine.lesson.number
        if left:
            how = (seed, options.timeout_s, options.cell_s)
            tasks[one.digest, number] = Task(one.submission, one.digest, number, left, *how)
    return list(tasks.values())


def _place(modules: Sequence[str], options: Options) -> Place:
    if options.broker:
        from labsupport.grading.remote import Remote  # Celery comes when it is first needed

        return Remote(options.broker, options.results, modules)
    return Pool(machine(modules, options.path, options.limits), options.jobs)


def _run(
    tasks: Sequence[Task], journal: Journal, place: Place, total: int, progress: Callable[[int, int], None]
) -> None:
    done = total - sum(len(task.exercises) for task in tasks)
    progress(done, total)
    for task, told in place.run(tasks):
        journal.add((task.digest, task.lesson, told["exercise"], journal.seed), told)
        done += 1
        progress(min(done, total), total)


def _results(
    asked: Sequence[tuple[Handed, list[str]]],
    journal: Journal,
    seed: int,
    options: Options,
    problems: Sequence[str],
) -> results.Results:
    papers: dict[tuple[str, str], list[results.Paper]] = {}
    lines = list(problems)
    for one, ids in asked:
        who, lesson = one.submission, one.pristine.lesson
        exercises = {exercise.id: exercise for exercise in lesson.exercises}
        marked = [_marked(exercises[id_], journal.entries[_key(one, id_, seed)]) for id_ in ids]
        lines += [f"{who.learner}: {mark.exercise.id}: {line}" for mark in marked for line in _lines(mark)]
        change = results.change_for(options.changes, who.learner, who.id, lesson.number)
        paper = results.Paper(lesson, tuple(marked), who.late, options.late_percent, change)
        papers.setdefault((who.learner, who.id), []).append(paper)
    entries = [journal.entries[_key(one, exercise, seed)] for one, ids in asked for exercise in ids]
    weak = tuple(dict.fromkeys(line for entry in entries for line in entry.get("weak", ())))
    lessons = {paper.lesson.number: paper.lesson for each in papers.values() for paper in each}
    learners = tuple(results.Learner(name, id_, tuple(each)) for (name, id_), each in sorted(papers.items()))
    lines += results.unused(options.changes, learners)
    alike = similarity.groups((one.submission.learner, one.pristine, one.answers) for one, _ in asked)
    ordered = tuple(lessons[number] for number in sorted(lessons))
    return results.Results(learners, ordered, tuple(lines), seed, weak, alike)


def _marked(exercise: Exercise, entry: Mapping[str, Any]) -> results.Marked:
    return results.Marked(
        exercise, results.verdict_of(entry["verdict"]), tuple(entry["problems"]), float(entry["took_s"])
    )


def _lines(mark: results.Marked) -> Iterator[str]:
    yield from mark.problems
    if mark.verdict.outcome is Outcome.UNKNOWN:
        yield f"could not be judged: {mark.verdict.summary}"


# ------------------------------------------------------------------------------------------------ the command


def main(arguments: argparse.Namespace) -> int:
    """``grade``: 0 when everything could be judged, 1 when a person has to look at something."""
    options = Options(
        jobs=arguments.jobs,
        seed=arguments.seed,
        only=tuple(arguments.only),
        timeout_s=arguments.timeout,
        late_percent=arguments.late_percent,
        changes=results.changes(arguments.changes) if arguments.changes else {},
        broker=arguments.broker,
        results=arguments.results,
    )
    found = _with_progress(arguments.places, arguments.out, options)
    if arguments.json:
        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        _show(found, arguments.out)
    unknown = any(mark.verdict.outcome is Outcome.UNKNOWN for mark in found.marks)
    return int(unknown or not found.learners)


def _with_progress(places: Sequence[str], out: Path, options: Options) -> results.Results:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TextColumn("exercises, left"))
    console = Console(file=sys.stderr)
    try:
        with Progress(
            *columns, TimeRemainingColumn(), TextColumn("so far"), TimeElapsedColumn(), console=console
        ) as bar:
            task = bar.add_task("grading", total=None)
            return grade(places, out, options, lambda done, of: bar.update(task, completed=done, total=of))
    except KeyboardInterrupt:
        print("The same command goes on where it was.", file=sys.stderr)
        raise


def _show(found: results.Results, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("learner", *(f"{lesson.number} {lesson.title}" for lesson in found.lessons), "points", box=None)
    for learner in found.learners:
        papers = [learner.paper(lesson.number) for lesson in found.lessons]
        cells = ["" if paper is None else f"{paper.points} of {paper.of}" for paper in papers]
        table.add_row(learner.name, *cells, f"{learner.points:g} of {learner.of}")
    console.print(table)
    for line in (*found.weaknesses, *found.problems):
        console.print(f"! {line}", markup=False, highlight=False)
    console.print(f"seed {found.seed}; results are in {out}, begin with {out / 'index.html'}", highlight=False)
