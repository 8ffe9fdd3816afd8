"""The rules of the repository itself."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import tuned

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "tuned").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
SCHEMA = ROOT / "tuned" / "experiment" / "schema.json"
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

#: Written so that this file does not find itself.
BANNED = re.compile(
    r"(?<![\w.}/-])/[w]ork/|(?<![\w.}/-])/[r]oot/|(?<![\w.}/-])/[o]pt/|pypi[.]org|pythonhosted[.]org|--[i]ndex-url"
)

PLACEHOLDER = re.compile(r"github[.]com/([A-Z]+)/tuned|\b[A-Z]+-CONTACT\b|tuned@localhost")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Path) -> Iterator[Function]:
    tree = ast.parse(module.read_text())
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def tracked_files() -> list[Path]:
    """The files that are committed or about to be."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in answer.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.relative_to(ROOT)}")
def test_no_module_is_over_400_lines_and_no_function_over_50(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions(module)}
    assert {name: lines for name, lines in lengths.items() if lines > 50} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.relative_to(ROOT)}")
def test_every_function_is_fully_typed(module: Path) -> None:
    def is_typed(function: Function) -> bool:
        parts = function.args
        arguments = [*parts.posonlyargs, *parts.args, *parts.kwonlyargs, parts.vararg, parts.kwarg]
        named = [a for a in arguments if a is not None and a.arg not in {"self", "cls"}]
        return function.returns is not None and all(argument.annotation for argument in named)

    assert [f.name for f in functions(module) if not is_typed(f)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.relative_to(ROOT)}")
def test_every_module_says_what_it_is_for(module: Path) -> None:
    # An empty ``__init__`` stands below a wing, and the wing's own speaks for it.
    is_empty_init = module.name == "__init__.py" and not module.read_text()
    assert is_empty_init or ast.get_docstring(ast.parse(module.read_text()))


def test_no_file_names_a_machine_path_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked_files()
        for match in BANNED.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_locked_version_has_its_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_what_is_installed_for_tests_is_what_is_installed_to_run() -> None:
    run, demo, dev = ({line for line in lock.read_text().splitlines() if "==" in line} for lock in (
        ROOT / "requirements" / f"{name}.txt" for name in ("run", "demo", "dev")
    ))  # fmt: skip
    assert run <= demo <= dev


def test_contributing_gives_a_reason_for_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[=<>]", requirement)[0] for requirement in project["dependencies"]]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert [name for name in names if f"\n| {name} |" not in text] == []


def test_the_shipped_schema_is_the_one_that_the_code_makes() -> None:
    made = importlib.import_module("tuned.experiment.json_schema").json_schema()
    assert json.loads(SCHEMA.read_text()) == made


@pytest.mark.parametrize("page", importlib.import_module("tuned.experiment.reference").PAGES)
def test_the_generated_reference_is_the_one_that_the_models_make(page: str) -> None:
    text = (ROOT / page).read_text()
    assert importlib.import_module("tuned.experiment.reference").refreshed(page, text) == text


def test_the_changelog_knows_the_version() -> None:
    assert f"\n## [{tuned.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_contributing_lists_every_placeholder_that_a_publisher_fills() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text.partition("## Placeholders")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))
    found = {
        match[1] or match[0]
        for path in tracked_files()
        if path.name not in {"CONTRIBUTING.md", "test_project.py"}
        for match in PLACEHOLDER.finditer(path.read_text(errors="replace"))
    }
    assert found == listed


def test_addresses_of_this_project_name_no_owner() -> None:
    addresses = re.compile(r"github[.]com/([\w-]+)/tuned\b")
    owners = {
        match[1] for path in tracked_files() for match in addresses.finditer(path.read_text(errors="replace"))
    }
    assert owners == {"OWNER"}


def test_every_tool_of_the_hooks_is_installed_by_the_locks() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    tools = {Path(hook["entry"].split()[0]) for hook in hooks[0]["hooks"]}
    assert [tool for tool in tools if not (Path(sys.executable).parent / tool.name).exists()] == []


@pytest.mark.parametrize("file", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_every_file_of_the_workflows_is_yaml_and_calls_targets_that_are_there(file: Path) -> None:
    text = file.read_text()
    assert yaml.safe_load(text)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"run: (?:sudo )?make ([a-z-]+)", text)) <= targets


def test_the_citation_has_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == tuned.__version__


def test_the_site_loads_nothing_from_elsewhere() -> None:
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"], cwd=ROOT, check=True)
    loaded = re.compile(r"""(?:src=|<link[^>]*href=|url\()["']?(?:https?:)?//[^"')>]+""")
    site = ROOT / "build" / "site"
    found = [match[0] for page in site.rglob("*.html") for match in loaded.finditer(page.read_text())]
    found += [match[0] for style in site.rglob("*.css") for match in loaded.finditer(style.read_text())]
    assert found == []
