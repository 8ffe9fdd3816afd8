"""The blocks of the README and of the pages below docs/, for the tests that run or check each of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tuned.daemon.main import main as tuned
from tuned.tunectl.main import commands as tunectl
from tuned.web.main import main as dashboard

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Their blocks are run as one session, in their order.
TUTORIALS = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
#: The tutorial that needs hosts, and root on them.
FLEET = ROOT / "docs" / "tutorial" / "first-fleet.md"

_OURS = {"tuned": tuned, "tunectl": tunectl, "tuned-dashboard": dashboard}
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
#: Programs that come with a system, or with the packages that a page names.
_SYSTEM = {
    "ansible-playbook", "apt-get", "cat", "cd", "chgrp", "chmod", "chown", "cp", "curl", "eval", "export",
    "install", "journalctl", "kill", "loginctl", "mkdir", "mv", "python3", "rpm", "scp", "ssh", "systemctl",
    "systemd-sysusers", "systemd-tmpfiles", "usermod",
    "~/tuned/bin/pip", "/srv/forest/.venv/bin/pip",
}  # fmt: skip
_FENCE = re.compile(r"^```(?P<language>.*)\n(?P<text>(?s:.*?))^```$", re.MULTILINE)
_PROMPT = re.compile(r"^([a-z]*)([$#]) ", re.MULTILINE)
_REDIRECTION = re.compile(r"\d?>{1,2}\s*(&\d|\S+)")
_SAVED_AS = re.compile(r"[Ss]ave this as\s+`([^`]+)`[^`]*(?:`/home/you`[^`]*)?:\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    #: The file as which the page tells the reader to save it; empty for none.
    saved_as: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of a session, and what the page shows of its output."""

    command: str
    output: str
    #: The host before the prompt; empty for the reader's own.
    host: str
    is_root: bool


def blocks(page: Path, *languages: str) -> list[Block]:
    """All blocks of a page, or those of some languages."""
    text = page.read_text()
    found = (
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            text=match["text"],
            saved_as=saved[1] if (saved := _SAVED_AS.search(text[: match.start()])) else "",
        )
        for match in _FENCE.finditer(text)
    )
    return [block for block in found if not languages or block.language in languages]


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text())


def steps(block: Block) -> list[Step]:
    """The commands of a console block, as a user or as root."""
    before, *parts = _PROMPT.split(block.text)
    assert before == "", f"{block} begins with output"
    split = [part.partition("\n") for part in parts[2::3]]
    return [
        Step(command=command, output=output, host=host, is_root=prompt == "#")
        for host, prompt, (command, _, output) in zip(parts[0::3], parts[1::3], split, strict=True)
    ]


def check_usage(line: str, *, is_whole: bool = True) -> None:
    """Raises if a command does not exist, has not this option, or lacks an argument although it is whole."""
    for words in _commands(line):
        program, *arguments = words
        if program in _OURS:
            _parse(_OURS[program], program, arguments, is_whole=is_whole)
        elif program == "make":
            assert {word for word in arguments if "=" not in word} <= _TARGETS, line
        else:
            assert program in _SYSTEM, f"{program} is unknown: {line}"


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(_REDIRECTION.sub("", line), posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if not set(token) <= set(";&|"):
            words.append(token)
        elif words:
            yield [word for index, word in enumerate(words) if index or not re.match(r"[A-Z_]+=", word)]
            words = []


def _parse(command: click.Command, name: str, arguments: list[str], *, is_whole: bool) -> None:
    """As click would, without running it."""
    context = click.Context(command, info_name=name)
    if is_whole and not isinstance(command, click.Group):
        command.make_context(name, arguments)
        return
    _, rest, _ = command.make_parser(context).parse_args(list(arguments))
    if not isinstance(command, click.Group):
        return
    inner = command.get_command(context, rest[0])
    assert inner is not None, f"{name} has no command {rest[0]}"
    _parse(inner, rest[0], rest[1:], is_whole=is_whole)
