"""The rules of the house: where a module stands, which test belongs to it, and how sentences begin."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tuned"
KINDS = (ROOT / "tests" / "unit", ROOT / "tests" / "integration")
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
WINGS = [folder for folder in FOLDERS if folder.parent == PACKAGE]
TREES = ("tuned", "tests", "benchmarks", "examples")

#: Modules of the package itself, which belong to no wing.
HALL = {"__init__", "__main__", "errors", "events", "foreign_study", "manual"}

MOST_ROOMS = 20

MOST_QUESTIONS = 12

#: A sentence that begins as a question does, and hides who does it.
QUESTION = re.compile(r"(?:^|[.!?]\s+)((?:What|Who|Whoever)\b.*)", re.MULTILINE)

#: Rooms, or wings of them, without a test of their name, and the reason.
UNTESTED = {
    "domain/result": "shapes alone: the tests of the outbox and of tells hold what becomes of them",
    "daemon/daemon": "it joins the other rooms: tests/acceptance holds what they do together",
    "control/host": "an interface: mypy holds the daemon and tests/small_host.py to it",
    "experiment/keys": "types alone: the tests of the tables hold what they refuse",
    "protocol": "shapes alone: mypy holds both sides to them, and tests/acceptance the socket",
}


def rooms() -> dict[str, Path]:
    found = (path for wing in WINGS for path in wing.rglob("*.py") if path.stem != "__init__")
    return {f"{path.relative_to(PACKAGE).with_suffix('')}": path for path in sorted(found)}


def has_test(room: str) -> bool:
    folder, _, name = room.rpartition("/")
    return any((kind / folder / f"test_{name}.py").exists() for kind in KINDS)


def exception_of(room: str) -> str | None:
    return next((each for each in UNTESTED if room == each or room.startswith(f"{each}/")), None)


def sentences(file: Path) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a file, with their lines."""
    text = file.read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#: ")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.body[0].lineno if node.body else 0, ast.get_docstring(node) or ""


def test_only_what_every_wing_shares_stands_outside_of_the_wings() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} - HALL == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.relative_to(ROOT)}")
def test_no_folder_has_over_20_modules(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= MOST_ROOMS


@pytest.mark.parametrize("wing", WINGS, ids=lambda path: path.name)
def test_the_init_of_a_wing_says_what_the_wing_is_for_and_does_nothing(wing: Path) -> None:
    tree = ast.parse((wing / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_each_init_below_a_wing_is_empty() -> None:
    below = [init for wing in WINGS for init in wing.glob("*/**/__init__.py")]
    assert [init for init in below if init.read_text()] == []


@pytest.mark.parametrize("room", [room for room in rooms() if exception_of(room) is None])
def test_each_room_has_a_test_of_its_name(room: str) -> None:
    assert has_test(room)


def test_every_exception_is_needed() -> None:
    needed = {exception_of(room) for room in rooms() if not has_test(room)}
    assert set(UNTESTED) - needed == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda path: path.name)
def test_tests_mirror_the_wings(kind: Path) -> None:
    folders = {path.parent for path in kind.rglob("*.py")} - {kind}
    assert [folder for folder in folders if PACKAGE / folder.relative_to(kind) not in FOLDERS] == []


def test_a_sentence_names_its_actor() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {match[1]}"
        for tree in TREES
        for file in sorted((ROOT / tree).rglob("*.py"))
        for line, text in sentences(file)
        for match in QUESTION.finditer(text)
    ]
    assert len(found) <= MOST_QUESTIONS, "\n".join(found)
