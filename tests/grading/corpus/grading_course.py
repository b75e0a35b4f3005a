"""A lesson of five small exercises, for tests and benchmarks of grading: quick to check, easy to get wrong.

Its notebook, ``99_small.ipynb``, is made by `notebook` below; a test compares them.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

from labsupport.exercises.answer import Answer
from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.checking import Run

FOLDER = pathlib.Path(__file__).parent
PATIENCE_S = 6.0
LETTERS = "abcde"


async def call_all(given: Any, tell: Callable[..., None], calls: list[list[Any]]) -> list[Any]:
    """In the child: make the calls, and return what each returned."""
    results = []
    for name, arguments in calls:
        value = getattr(given, name)(*arguments)
        results.append(await value if hasattr(value, "__await__") else value)
    return results


def lead_clock(given: Any, tell: Callable[..., None], received: list[int | None]) -> list[int]:
    """In the child: one Lamport clock, ticked (None) or given another's time."""
    clock = given.Clock()
    return [clock.tick() if time is None else clock.receive(time) for time in received]


def frame(given: Any, tell: Callable[..., None], values: list[Any], stream: str) -> list[Any]:
    """In the child: pack values, and take apart a stream."""
    return [[given.pack(value).hex() for value in values], given.unpack(bytes.fromhex(stream))]


async def read_replicas(given: Any, tell: Callable[..., None], rounds: list[list[Any]]) -> list[Any]:
    """In the child: read from replicas of which some are silent or raise."""
    import asyncio

    def replica(answer: Any) -> Callable[[], Any]:
        async def read() -> Any:
            if answer is None:
                await asyncio.Event().wait()
            if answer == "down":
                raise ConnectionError("down")
            return answer

        return read

    results = []
    for replicas, need in rounds:
        results.append(await given.quorum_read([replica(answer) for answer in replicas], need))
    return results


def check_clock(answer: Answer, run: Run) -> str:
    """A Lamport clock against ours."""
    received = [run.random.choice([None, None, run.random.randrange(60)]) for _ in range(40)]
    time, wanted = 0, []
    for other in received:
        time = max(time, other or 0) + 1
        wanted.append(time)
    with answer.start(lead_clock, received=received) as child:
        got = child.result(PATIENCE_S, "the clock to answer")
    if got != wanted:
        pairs = enumerate(zip(wanted, got if isinstance(got, list) else [], strict=False))
        place = next((place for place, pair in pairs if pair[0] != pair[1]), 0)
        name = "ignores_the_message" if got == list(range(1, 41)) else ""
        run.reject(name, f"step {place + 1} went wrong", expected=wanted[place], got=str(got)[:80], evidence=["a step"])
    return "40 steps of a clock"


def check_compare(answer: Answer, run: Run) -> str:
    """Vector clocks compared."""

    def draw() -> dict[str, int]:
        return {name: run.random.randrange(3) for name in LETTERS[:3] if run.random.random() < 0.8}

    pairs = [[draw(), draw()] for _ in range(40)]
    wanted = [_order(*pair) for pair in pairs]
    with answer.start(call_all, calls=[["compare", pair] for pair in pairs]) as child:
        got = child.result(PATIENCE_S, "compare to answer")
    if got != wanted:
        run.reject("", "a pair was compared wrongly", expected=wanted, got=str(got)[:80])
    return "40 pairs of clocks"


def _order(one: dict[str, int], other: dict[str, int]) -> str:
    names = {*one, *other}
    less = any(one.get(name, 0) < other.get(name, 0) for name in names)
    more = any(one.get(name, 0) > other.get(name, 0) for name in names)
    return {(False, False): "same", (True, False): "before", (False, True): "after", (True, True): "concurrent"}[
        less, more
    ]


def check_frames(answer: Answer, run: Run) -> str:
    """Length-prefixed frames in both directions."""
    values = [{"n": run.random.randrange(10**6), "text": "grüß dich"}, [1, None, True], "x" * run.random.randrange(300)]
    packed = [len(data).to_bytes(4, "big") + data for data in (json.dumps(value).encode() for value in values)]
    with answer.start(frame, values=values, stream=b"".join(packed).hex()) as child:
        got = child.result(PATIENCE_S, "frames")
    if got != [[data.hex() for data in packed], values]:
        run.reject("", "the frames are not the ones that were expected", expected="", got=str(got)[:80])
    return "3 frames there and back"


def check_quorum(answer: Answer, run: Run) -> str:
    """The newest of enough replies, without waiting for the silent."""
    rounds, wanted = [], []
    for _ in range(5):
        versions = run.random.sample(range(100), 3)
        replies = [[version, f"value {version}"] for version in versions]
        rounds.append([run.random.sample([*replies, None, "down"], 5), 3])
        wanted.append(f"value {max(versions)}")
    with answer.start(read_replicas, rounds=rounds) as child:
        got = child.result(PATIENCE_S, "quorum_read to answer")
    if got != wanted:
        run.reject("", "a read returned something else than the newest value", expected=wanted, got=str(got)[:80])
    return "5 reads of 5 replicas"


def check_ring(answer: Answer, run: Run) -> str:
    """Keys on a ring of hashes."""
    nodes = run.random.sample([f"node{number}" for number in range(50)], 5)
    keys = [f"key{run.random.randrange(10**6)}" for _ in range(30)]
    ring = sorted((_place(node), node) for node in nodes)
    wanted = [ring[bisect.bisect(ring, (_place(key), "")) % len(ring)][1] for key in keys]
    with answer.start(call_all, calls=[["owner", [key, nodes]] for key in keys]) as child:
        got = child.result(PATIENCE_S, "owner to answer")
    if got != wanted:
        run.reject("", "a key is at the wrong node", expected=wanted, got=str(got)[:80])
    return "30 keys on 5 nodes"


def _place(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _exercise(number: int, title: str, takes: tuple[str, ...], check: Callable[..., Any], **more: Any) -> Exercise:
    fields = {"misconceptions": {}, "hints": ("Look.", "Ask.", "Do."), **more}
    return Exercise(id=f"99.{number}", title=title, points=2, takes=takes, check=check, **fields)


LESSON = Lesson(
    number="99",
    title="Small things",
    notebook="99_small",
    minutes=5,
    systems=(),
    exercises=(
        _exercise(
            1,
            "Lamport clock",
            ("Clock",),
            check_clock,
            misconceptions={"ignores_the_message": "A message brings the time of its sender."},
        ),
        _exercise(2, "compare", ("compare",), check_compare),
        _exercise(3, "frames", ("pack", "unpack"), check_frames),
        _exercise(4, "quorum read", ("quorum_read",), check_quorum),
        _exercise(5, "ring", ("owner",), check_ring),
    ),
)

STUBS = {
    "99.1": """class Clock:
    def __init__(self):
        self.time = 0
    def tick(self):
        raise NotImplementedError("one step")
    def receive(self, time):
        raise NotImplementedError("later than both")""",
    "99.2": """def compare(one, other):
    raise NotImplementedError("before, after, same or concurrent")""",
    "99.3": """def pack(value):
    raise NotImplementedError("use header")

def unpack(stream):
    raise NotImplementedError("a list of values")""",
    "99.4": """async def quorum_read(replicas, need):
    raise NotImplementedError("the newest of need replies")""",
    "99.5": """def owner(key, nodes):
    raise NotImplementedError("the next node on the ring")""",
}

RIGHT = {
    "99.1": """class Clock:
    def __init__(self):
        self.time = 0
    def tick(self):
        self.time += 1
        return self.time
    def receive(self, time):
        self.time = max(self.time, time) + 1
        return self.time""",
    "99.2": """def compare(one, other):
    names = {*one, *other}
    less = any(one.get(name, 0) < other.get(name, 0) for name in names)
    more = any(one.get(name, 0) > other.get(name, 0) for name in names)
    return "concurrent" if less and more else "before" if less else "after" if more else "same\"""",
    "99.3": """def pack(value):
    data = json.dumps(value).encode()
    return header(len(data)) + data

def unpack(stream):
    values = []
    while stream:
        size = int.from_bytes(stream[:4], "big")
        values.append(json.loads(stream[4:4 + size]))
        stream = stream[4 + size:]
    return values""",
    "99.4": """import asyncio

async def quorum_read(replicas, need):
    waiting, replies = {asyncio.ensure_future(replica()) for replica in replicas}, []
    while len(replies) < need:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        replies += [task.result() for task in done if not task.exception()]
    for task in waiting:
        task.cancel()
    return max(replies)[1]""",
    "99.5": """import bisect, hashlib

def owner(key, nodes):
    def place(name):
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    ring = sorted((place(node), node) for node in nodes)
    return ring[bisect.bisect(ring, (place(key), "")) % len(ring)][1]""",
}

HELPERS = """import json

def header(size):
    return size.to_bytes(4, "big")"""
SHOW = """import time
slept = time.sleep(10**6)"""


def notebook(answers: dict[str, str] | None = None) -> dict[str, Any]:
    """The lesson's notebook with these answers, by exercise; without one, an exercise is as it was given out."""
    cells = [_text("title", "# Small things"), _code("setup", "from labsupport import check", tags=["setup"])]
    cells += [_code("helpers", HELPERS), _text("about", "It breaks."), _code("show", SHOW)]
    for exercise in LESSON.exercises:
        number = exercise.id.replace(".", "-")
        cells.append(_text(f"about-{number}", f"## {exercise.title}"))
        source = (answers or {}).get(exercise.id, STUBS[exercise.id])
        cells.append(_code(f"x-{number}", source, tags=["exercise"], nbgrader=_nbgrader(f"x-{number}", solution=True)))
        grader = _nbgrader(f"check-{number}", grade=True, locked=True, points=exercise.points)
        cells.append(_code(f"check-{number}", exercise.call, tags=["check"], nbgrader=grader))
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _nbgrader(name: str, **more: Any) -> dict[str, Any]:
    fields = {"schema_version": 3, "grade_id": name, "task": False, "grade": False, "solution": False, "locked": False}
    return {**fields, **more}


def _text(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def _code(name: str, source: str, **metadata: Any) -> dict[str, Any]:
    fields = {"execution_count": None, "metadata": metadata, "outputs": []}
    return {"cell_type": "code", "id": name, **fields, "source": source}


if __name__ == "__main__":
    (FOLDER / "99_small.ipynb").write_text(json.dumps(notebook(), indent=1, ensure_ascii=False) + "\n", "utf-8")
