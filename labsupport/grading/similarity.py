"""Which learners' answers to an exercise are alike, for a person to look at: a likeness proves nothing.

By the fingerprints of MOSS (Schleimer, Wilkerson, Aiken, *Winnowing*, 2003): an answer is the set of its runs of
`RUN` tokens, names and texts made equal and comments dropped, so that renaming, reordering and commenting do not
matter. Runs that the stub or our solution has do not count, and an answer with little beyond those is like nobody's.

The tokens are Pygments's. A library for all of it was looked for in November 2026: copydetect has stood still since
March 2024, and compare50 is a program of its own under the GPL.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping

from labsupport.grading import release
from labsupport.grading.assemble import Pristine
from labsupport.grading.notebooks import read

RUN = 8  # tokens, about a line
LEAST = 30  # runs of its own, without which too much of an answer could not have been written otherwise
ALIKE = 0.8  # of the runs of the shorter answer; those that people wrote apart share a third at most
LONGEST = 20_000  # characters that are looked at


@dataclasses.dataclass(frozen=True)
class Group:
    """Learners whose answers to one exercise are alike: each to some other of them by at least `share`."""

    exercise: str
    learners: tuple[str, ...]
    share: float


def groups(handed: Iterable[tuple[str, Pristine, Mapping[str, str]]]) -> tuple[Group, ...]:
    """The groups in a class.

    Args:
        handed: for each notebook its learner, its lesson and the answers in it, by exercise.
    """
    answers: dict[str, dict[str, str]] = {}
    given: dict[str, frozenset[str]] = {}
    for learner, pristine, written in handed:
        for exercise, source in written.items():
            if exercise not in given:
                given[exercise] = _given(pristine, exercise)
            answers.setdefault(exercise, {})[learner] = source
    return tuple(
        group for exercise in sorted(answers) for group in _alike(exercise, answers[exercise], given[exercise])
    )


def _alike(exercise: str, sources: Mapping[str, str], given: frozenset[str]) -> list[Group]:
    own = {learner: _runs(source[:LONGEST]) - given for learner, source in sorted(sources.items())}
    own = {learner: runs for learner, runs in own.items() if len(runs) >= LEAST}
    group_of = {learner: {learner} for learner in own}
    shares: dict[str, float] = {}  # the least of each learner that is like somebody
    for one, other in itertools.combinations(own, 2):
        share = len(own[one] & own[other]) / min(len(own[one]), len(own[other]))
        if share >= ALIKE:
            shares |= {learner: min(share, shares.get(learner, share)) for learner in (one, other)}
            if group_of[one] is not group_of[other]:
                group_of[one] |= group_of[other]
                group_of |= dict.fromkeys(group_of[one], group_of[one])
    found = {tuple(sorted(group)) for group in group_of.values() if len(group) > 1}
    return [Group(exercise, group, min(shares[learner] for learner in group)) for group in sorted(found)]


@functools.lru_cache(maxsize=1024)
def _runs(source: str) -> frozenset[str]:
    tokens = list(_tokens(source))
    return frozenset(" ".join(tokens[at : at + RUN]) for at in range(len(tokens) - RUN + 1))


def _tokens(source: str) -> Iterable[str]:
    from pygments.lexers.python import PythonLexer
    from pygments.token import Comment, Name, String

    for kind, text in PythonLexer().get_tokens(source):
        if kind not in Comment and kind not in String.Doc and text.strip():
            yield "name" if kind in Name else "text" if kind in String else text


def _given(pristine: Pristine, exercise: str) -> frozenset[str]:
    """The runs of what was given out, and of our solution where it is at hand."""
    stub = pristine.answers[exercise]
    solved = release.SOLUTIONS / f"{pristine.lesson.notebook}.ipynb"
    cells = read(solved.read_bytes())[0] if solved.exists() else []
    return frozenset().union(*(_runs(cell.source) for cell in [stub, *cells] if cell.is_called(stub.id)))
