"""Every block of the README and of docs/ is what it says it is; tests/acceptance/test_docs.py runs them."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from tests.documents import PAGES, ROOT, Block, all_blocks, check_usage, prose, steps
from tuned.daemon.main import main as tuned
from tuned.systemd.journald import MESSAGE_IDS
from tuned.tunectl.main import commands as tunectl

#: A page of each language has a test here or in tests/acceptance; text and "" are no language.
LANGUAGES = {"", "console", "ini", "json", "python", "sh", "sql", "text", "toml", "yaml"}
EXPERIMENT = json.loads((ROOT / "tuned" / "experiment" / "schema.json").read_text())["properties"].keys()
#: Tables that a part of an experiment file needs to be a whole one.
OBJECTIVE = '[objective]\ncommand = ["true"]\n'
SPACE = '[space.x]\ntype = "float"\nlow = 0\nhigh = 1\nstep = 0.5\n'

#: `make pictures` makes them.
PICTURES = (
    "top.svg",
    *(f"{page}-{scheme}.png" for page in ("fleet", "experiment") for scheme in ("light", "dark")),
)
HEAVIEST_PICTURE_BYTES = 150 * 1024

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.relative_to(ROOT)}")


def of(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", all_blocks(*languages), ids=str)


@pages
def test_every_block_is_in_a_language_that_is_tested(page: Path) -> None:
    assert {block.language for block in all_blocks() if block.page == page} <= LANGUAGES
    # An indented line is a block that no test finds, or a fence that MkDocs does not know.
    assert re.findall(r"\n\n {4,}\S.*|^ +```.*", prose(page), re.MULTILINE) == []


@of("toml")
def test_a_toml_block_is_an_experiment_or_settings_as_the_program_itself_checks_them(
    block: Block, tmp_path: Path
) -> None:
    document = tomllib.loads(block.text)
    file = tmp_path / "block.toml"
    if document.keys() <= EXPERIMENT:
        file.write_text(completed(block.text, document.get("objective", {}), document.get("space")))
        result = CliRunner().invoke(tunectl, ["check", str(file)], standalone_mode=False)
        assert result.return_value in {0, None}, result.output
    else:
        file.write_text(block.text)
        result = CliRunner().invoke(tuned, ["--check-config", "--config", str(file)])
    assert (result.exit_code, result.exception) == (0, None), result.output


def completed(text: str, objective: dict[str, object], space: object) -> str:
    if not {"command", "python"} & objective.keys():
        text += OBJECTIVE
    return text if space else text + SPACE


@pytest.mark.parametrize("text", ["slots = 1\nslotz = 2\n", "[budget]\ntrails = 1\n"])
def test_a_block_with_an_unknown_key_would_be_found(tmp_path: Path, text: str) -> None:
    block = Block(page=ROOT / "README.md", line=1, language="toml", text=text, saved_as="")
    with pytest.raises(AssertionError):
        test_a_toml_block_is_an_experiment_or_settings_as_the_program_itself_checks_them(block, tmp_path)


@of("console")
def test_the_commands_of_a_session_exist_with_their_options(block: Block) -> None:
    for step in steps(block):
        check_usage(step.command)


@of("sh")
def test_a_script_is_one_that_the_shell_understands(block: Block) -> None:
    subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pages
def test_the_commands_in_the_text_exist_with_their_options(page: Path) -> None:
    for command in re.findall(r"`(tunectl [a-z][^`]*)`", prose(page)):
        check_usage(re.sub(r"\[|\]|\.\.\.", "", command), is_whole=False)


@pytest.mark.parametrize("command", ["tunectl stat", "tunectl submit --no x", "tuned --slotz 1", "make tset"])
def test_a_command_that_is_not_there_would_be_found(command: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        check_usage(command)


@of("json")
def test_a_json_block_is_json(block: Block) -> None:
    json.loads(block.text)


@of("yaml")
def test_a_yaml_block_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


@of("ini")
def test_a_block_of_a_unit_is_one(block: Block) -> None:
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(block.text)
    assert parser.sections()


@of("text", "")
def test_a_plain_block_hides_no_command(block: Block) -> None:
    assert re.findall(r"^[$#] .*", block.text, re.MULTILINE) == []


@pages
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    own = "https://github.com/OWNER/tuned/"
    inside = [re.sub(f"{own}(blob|tree)/main/", f"{ROOT}/", target).partition("#")[0] for target in targets]
    local = [target for target in inside if target and not target.startswith("http")]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pages
def test_every_picture_is_there_and_has_a_text_for_those_who_do_not_see_it(page: Path) -> None:
    text = prose(page)
    shown = dict(re.findall(r"(?s)!\[(.*?)\]\((\S+?)\)", text))
    tags = re.findall(r'<img alt="([^"]*)" src="([^"]+)">', text)
    assert len(tags) == text.count("<img")
    assert all([*shown, *(alt for alt, _ in tags)])
    files = [*shown.values(), *(file for _, file in tags), *re.findall(r'srcset="([^"]+)"', text)]
    assert [file for file in files if not (page.parent / file).is_file()] == []


def test_the_readme_shows_what_is_seen_of_tuned_and_nothing_heavy() -> None:
    text = (ROOT / "README.md").read_text()
    shown = {Path(file) for file in re.findall(r"docs/images/[\w.-]+", text)}
    assert shown >= {Path("docs/images", name) for name in PICTURES}
    assert [file for file in shown if (ROOT / file).stat().st_size > HEAVIEST_PICTURE_BYTES] == []


def test_a_drawing_loads_nothing_from_elsewhere_and_names_no_directory_of_its_making() -> None:
    drawings = [file.read_text() for file in sorted((ROOT / "docs" / "images").glob("*.svg"))]
    assert [re.findall(r"url\([\"']?[^#].*|href=.*|/tmp/.*", each) for each in drawings] == [[]] * len(
        drawings
    )


def test_the_reference_of_the_journal_has_every_kind_of_record() -> None:
    text = (ROOT / "docs" / "reference" / "journal.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{32})` \|$", text, re.MULTILINE))
    assert rows == MESSAGE_IDS
