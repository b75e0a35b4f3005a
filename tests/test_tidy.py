"""The house rules that a machine can hold: layout, imports, notebooks, links.

Goal: a reviewer never has to say any of this. Method: read the files that git tracks (or would track) as data.
"""

from __future__ import annotations

import ast
import functools
import itertools
import json
import pathlib
import re
import subprocess
import sys

import pytest

from labsupport.exercises import catalogue

ROOT = pathlib.Path(__file__).resolve().parents[1]

TOP_LEVEL = {
    "README.md",
    "LICENSE",
    "requirements.txt",
    "pyproject.toml",
    "docker-compose.yml",
    "lessons",
    "labsupport",
    "solutions",
    "tests",
}

# What each part of the package may import of the others; `design`: imports point down only.
LAYERS = {
    "errors": set(),
    "repeating": set(),
    "environment": {"errors", "repeating"},
    "history": {"errors"},
    "messages": {"errors"},
    "trace": {"errors", "history", "messages"},
    "faults": {"errors"},
    "nemesis": {"errors", "faults"},
    "node": {"errors", "messages"},
    "watchdog": set(),
    "sim": {"errors", "history", "messages", "trace", "faults", "nemesis", "node", "spacetime", "watchdog"},
    "cluster": {"errors", "history", "messages", "trace", "faults", "nemesis", "node", "services"},
    "spacetime": {"errors", "trace"},
    "rerun": {"errors", "messages", "sim", "trace"},
    "search": {"errors", "history", "messages", "trace", "faults", "node", "sim", "rerun", "spacetime"},
    "checkers": {"errors", "history", "messages"},
    "workloads": {"errors", "history", "messages", "faults", "node", "cluster", "checkers", "sim"},
    "services": {"errors", "environment", "faults"},
    "view": {"errors", "history", "checkers", "messages", "trace", "spacetime"},
    "exercises": {"errors", "history", "checkers", "services", "view"}
    | {"messages", "node", "trace", "faults", "sim", "search", "spacetime", "cluster", "workloads", "watchdog"},
    "grading": {"errors", "repeating", "history", "checkers", "services", "view", "exercises"},
    "bench": {"errors"},
    "cli": {"errors", "environment", "history", "checkers", "services", "view", "exercises", "grading", "bench"}
    | {"workloads"},
    "__main__": {"errors", "environment", "cli"},
    "__init__": set(),
}

# These touch no socket, process, thread, clock or file.
PURE = {"messages", "history", "trace", "faults", "nemesis", "node", "sim", "checkers"}
WORLDLY = set(
    [
        "asyncio",
        "multiprocessing",
        "os",
        "pathlib",
        "select",
        "signal",
        "socket",
        "subprocess",
        "threading",
        "time",
        "uuid",
    ]
)

CODE_LINES, NODE_LINES = 15, 35
TEXT_WORDS, CODE_RUN, CELLS, EXERCISES, PREDICTIONS = 150, 2, 80, 5, 8
EXERCISE_PARTS = ("**Given**", "**Do**", "**Done when**", "**Size:**", "**Stuck?**")
MACHINE_PATHS = re.compile(r"/(?:home|Users)/[a-z][\w.-]*/|/root/|[A-Z]:\\\\Users")
UNWELCOME = re.compile(r"\b(?:simply|obviously|just)\b", re.IGNORECASE)


@functools.cache
def files() -> list[pathlib.Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def python_files(folder: str) -> list[pathlib.Path]:
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] == folder]


def notebooks(folder: str) -> list[pathlib.Path]:
    return sorted((ROOT / folder).glob("*.ipynb"))


@functools.cache
def cells(path: pathlib.Path) -> list[dict]:
    return json.loads(path.read_text("utf-8"))["cells"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def code_lines(cell: dict) -> int:
    return sum(bool(line.strip()) for line in source(cell).split("\n"))


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


every_notebook = pytest.mark.parametrize(
    "path", [*notebooks("solutions"), *notebooks("lessons")], ids=lambda path: f"{path.parent.name}/{path.stem}"
)


# ------------------------------------------------------------------------------------------------ the tree


def test_the_top_level_holds_only_what_the_readme_speaks_of():
    found = {path.relative_to(ROOT).parts[0] for path in files()}
    assert {name for name in found if not name.startswith(".")} - TOP_LEVEL == set()


def test_no_file_names_a_path_of_one_machine():
    places = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "ignore")
        if path.name != "test_tidy.py" and path.suffix != ".png" and (found := MACHINE_PATHS.search(text)):
            places.append(f"{path.relative_to(ROOT)}: {found.group()}")
    assert places == []


@pytest.mark.parametrize("path", python_files("labsupport"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path):
    own = path.relative_to(ROOT / "labsupport").parts[0].removesuffix(".py")
    wrong = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "labsupport":
            inner = node.module.split(".")[1:]
            names = inner[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("labsupport.")]
        wrong += [name for name in names if name != own and name not in LAYERS[own]]
    assert wrong == []


@pytest.mark.parametrize("part", sorted(PURE))
def test_a_pure_part_of_the_package_imports_nothing_of_the_world(part):
    own = {ROOT / "labsupport" / f"{part}.py", *(ROOT / "labsupport" / part).rglob("*.py")}
    paths = [path for path in python_files("labsupport") if path in own]
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in WORLDLY]
    assert paths and found == []


@pytest.mark.parametrize("path", python_files("labsupport"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_first_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_importing_the_package_needs_the_standard_library_alone():
    program = "import sys; sys.path.insert(0, '.'); import labsupport, labsupport.errors; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "labsupport.errors" in modules.split()


@pytest.mark.parametrize(
    "question", [["check"], ["format", "--check", "--exclude", "*.ipynb"]], ids=["rules", "format"]
)
def test_ruff_has_nothing_to_say(question):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *question, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_links_between_our_files_lead_somewhere():
    broken = []
    texts = [(path, path.read_text("utf-8")) for path in files() if path.suffix == ".md"]
    for folder in ("lessons", "solutions"):
        for path in notebooks(folder):
            texts.append((path, "\n".join(source(cell) for cell in cells(path) if cell["cell_type"] == "markdown")))
    for path, text in texts:
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:|#", target) and not (path.parent / target.split("#")[0]).exists():
                broken.append(f"{path.relative_to(ROOT)} -> {target}")
    assert broken == []


# ------------------------------------------------------------------------------------------------ notebooks


def test_there_are_lessons():
    assert len(notebooks("solutions")) >= len(catalogue.lessons()) >= 4


@every_notebook
def test_a_notebook_carries_no_outputs(path):
    noisy = [cell["id"] for cell in cells(path) if cell.get("outputs") or cell.get("execution_count")]
    assert noisy == []


@every_notebook
def test_cells_are_small(path):
    large = []
    for cell in cells(path):
        text = source(cell)
        if cell["cell_type"] == "markdown":
            words = len(re.findall(r"\w[\w'’.-]*", text))
            if words > TEXT_WORDS:
                large.append(f"{cell['id']}: {words} words")
        else:
            allowed = (
                NODE_LINES
                if "exercise" in tags(cell) or re.search(r"^(class|async def|def|%%writefile)", text, re.M)
                else CODE_LINES
            )
            if code_lines(cell) > allowed:
                large.append(f"{cell['id']}: {code_lines(cell)} lines")
    assert large == []


@every_notebook
def test_code_and_text_take_turns(path):
    kinds = itertools.groupby(cells(path), key=lambda cell: cell["cell_type"])
    runs = [[cell["id"] for cell in group] for kind, group in kinds if kind == "code"]
    assert [run for run in runs if len(run) > CODE_RUN] == []
    assert len(cells(path)) <= CELLS


@every_notebook
def test_headings_go_down_step_by_step_from_one_title(path):
    text = "\n".join(source(cell) for cell in cells(path) if cell["cell_type"] == "markdown")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@every_notebook
def test_the_words_that_make_a_learner_feel_small_are_absent(path):
    found = []
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            found += [f"{cell['id']}: {word}" for word in UNWELCOME.findall(source(cell))]
    assert found == []


@every_notebook
def test_every_name_that_a_notebook_takes_from_the_package_is_public(path):
    import labsupport

    taken = set()
    for cell in cells(path):
        if cell["cell_type"] == "code" and "labsupport" in source(cell):
            for line in re.findall(r"from labsupport import ([^\n(]+)", source(cell)):
                taken |= {name.strip() for name in line.split(",")}
    assert taken <= set(labsupport.__all__)


@every_notebook
def test_predictions_are_asked_before_and_compared_after(path):
    text = "\n".join(source(cell) for cell in cells(path) if cell["cell_type"] == "code")
    asked = re.findall(r"^(\w+) = predict\(", text, re.M)
    assert 3 <= len(asked) <= PREDICTIONS
    assert [name for name in asked if f"{name}.saw(" not in text] == []


def test_every_concept_is_defined_in_the_lesson_that_the_list_names():
    rows = re.findall(
        r"^\| \*\*(.+?)\*\* \|.+\| \[\d\d\]\((.+?)\) \|$", (ROOT / "lessons/CONCEPTS.md").read_text("utf-8"), re.M
    )
    assert len(rows) >= 40
    assert [row[0].lower() for row in rows] == sorted(row[0].lower() for row in rows)
    missing = []
    for term, notebook in rows:
        text = " ".join(source(cell) for cell in cells(ROOT / "lessons" / notebook) if cell["cell_type"] == "markdown")
        if f"**{term}**".lower() not in re.sub(r"\s+", " ", text).lower():
            missing.append(f"{term} in {notebook}")
    assert missing == []


# ------------------------------------------------------------------------------------------------ exercises

every_lesson = pytest.mark.parametrize("lesson", catalogue.lessons(), ids=lambda lesson: lesson.number)
every_exercise = pytest.mark.parametrize(
    "exercise",
    [exercise for lesson in catalogue.lessons() for exercise in lesson.exercises],
    ids=lambda exercise: exercise.id,
)


@every_lesson
def test_a_lesson_and_its_notebook_agree_on_the_exercises(lesson):
    notebook = cells(ROOT / "solutions" / f"{lesson.notebook}.ipynb")
    checks = [source(cell) for cell in notebook if "check" in tags(cell)]
    assert checks == [exercise.call for exercise in lesson.exercises]
    assert len([cell for cell in notebook if "exercise" in tags(cell)]) == len(lesson.exercises) <= EXERCISES


@every_exercise
def test_an_exercise_has_its_five_parts_before_its_cell(exercise):
    lesson = next(lesson for lesson in catalogue.lessons() if exercise in lesson.exercises)
    notebook = cells(ROOT / "solutions" / f"{lesson.notebook}.ipynb")
    ids = [cell["id"] for cell in notebook]
    place = ids.index(f"x-{exercise.id.replace('.', '-')}")
    assert [part for part in EXERCISE_PARTS if part not in source(notebook[place - 1])] == []
    assert f'hint("{exercise.id}")' in source(notebook[place - 1])


@every_exercise
def test_an_exercise_has_three_hints_without_code_and_a_sentence_for_each_misconception(exercise):
    assert len(exercise.hints) == 3 and all(exercise.hints)
    assert [text for text in exercise.hints if "\n" in text or re.search(r"\w\(.*\)", text)] == []
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in exercise.misconceptions)
    assert all(text.endswith(".") for text in exercise.misconceptions.values())


@every_exercise
def test_an_exercise_has_enough_answers_and_each_wrong_one_bears_a_misconceptions_name(exercise):
    right = {path.stem for path in (ROOT / "tests/right_answers" / exercise.id).glob("*.py")}
    wrong = {path.stem for path in (ROOT / "tests/wrong_answers" / exercise.id).glob("*.py")}
    assert len(right) >= 1 and len(wrong) >= 4
    assert wrong == set(exercise.misconceptions)
