"""The generated parts of the manual pages of the commands, from what ``--help`` says: ``make reference``.

It owns the text between the markers. It must never say a fact of its own: commands, options and their meaning
come from click.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from tuned.daemon import main as daemon
from tuned.tunectl import main as tunectl
from tuned.web import main as dashboard

_BLOCK = re.compile(
    r"""(?P<begin>^\.\\"\ generated:\ (?P<name>[a-z]+)\n).*?(?P<end>^\.\\"\ end\ of\ generated)""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)

#: Each page, and the command of which it tells.
PAGES: Mapping[str, click.Command] = {
    "packaging/man/tunectl.1": tunectl.commands,
    "packaging/man/tuned.8": daemon.main,
    "packaging/man/tuned-dashboard.8": dashboard.main,
}

#: A paragraph that click does not wrap, and its mark.
_AS_IT_IS = "\b\n"


def refreshed(page: str, text: str) -> str:
    """The page with its generated blocks as the command says."""
    command = PAGES[page]
    context = click.Context(command, info_name=command.name, **command.context_settings)
    blocks: Mapping[str, Callable[[click.Context], Iterator[str]]] = {
        "commands": _commands, "options": _options, "synopsis": _synopsis,
    }  # fmt: skip

    def block(match: re.Match[str]) -> str:
        return match["begin"] + "".join(f"{line}\n" for line in blocks[match["name"]](context)) + match["end"]

    return _BLOCK.sub(block, text)


def main() -> None:
    for page in map(Path, PAGES):
        page.write_text(refreshed(str(page), page.read_text()))


def _synopsis(context: click.Context) -> Iterator[str]:
    yield ".Nm"
    for option in _given(context):
        yield f".Op {_flags(context, option, only_first=True)}"
    for argument in context.command.get_params(context):
        if isinstance(argument, click.Argument):
            yield f".{_argument(context, argument)}"
    if isinstance(context.command, click.Group):
        yield from (".Ar COMMAND", ".Op Ar ARGUMENT ...")


def _options(context: click.Context) -> Iterator[str]:
    for option in _given(context):
        yield f".It {_flags(context, option)}"
        yield from _text(_meaning(context, option))


def _commands(context: click.Context) -> Iterator[str]:
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield from _command(click.Context(command, info_name=name, parent=context), name)


def _command(context: click.Context, name: str) -> Iterator[str]:
    command = context.command
    arguments = [each for each in command.get_params(context) if isinstance(each, click.Argument)]
    yield " ".join([f".It Ic {name}", *(_argument(context, each) for each in arguments)])
    yield from _text(inspect.cleandoc(command.help or ""))
    options = _given(context)
    if options:
        yield from (".Pp", ".Bl -tag -width Ds -compact")
        for option in options:
            yield f".It {_flags(context, option)}"
            yield from _text(_meaning(context, option))
        yield ".El"
    if command.epilog:
        # It is a display, which has its own space before it.
        yield from _text(inspect.cleandoc(command.epilog))


def _given(context: click.Context) -> list[click.Option]:
    """The options of a command, but for that which shows help."""
    options = [each for each in context.command.get_params(context) if isinstance(each, click.Option)]
    return [each for each in options if not each.hidden and "--help" not in each.opts]


def _flags(context: click.Context, option: click.Option, *, only_first: bool = False) -> str:
    named = [f"Fl {name[1:]}" for name in (*option.opts, *option.secondary_opts)]
    value = "" if option.is_flag or option.count else f" Ar {_quoted(option.make_metavar(context))}"
    return (named[-1] if only_first else " , ".join(named)) + value


def _argument(context: click.Context, argument: click.Argument) -> str:
    """``Ar NAME``; in brackets if it may be left out."""
    name = argument.make_metavar(context).strip("[]").removesuffix("...").removesuffix("]")
    dots = " ..." if argument.nargs != 1 else ""
    return f"Ar {name}{dots}" if argument.required else f"Op Ar {name}{dots}"


def _meaning(context: click.Context, option: click.Option) -> str:
    record = option.get_help_record(context)
    return "" if record is None else record[1]


def _text(text: str) -> Iterator[str]:
    """Paragraphs, with a line for each sentence."""
    for number, paragraph in enumerate(text.split("\n\n")):
        is_as_it_is = paragraph.startswith(_AS_IT_IS)
        if number and not is_as_it_is:
            # A display has its own space before it.
            yield ".Pp"
        if is_as_it_is:
            yield from (".Bd -literal", *map(_roff, paragraph.removeprefix(_AS_IT_IS).splitlines()), ".Ed")
        else:
            sentences = re.split(r"(?<=[.!?:;]) (?=\S)", " ".join(paragraph.split()))
            yield from map(_roff, sentences)


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _roff(text: str) -> str:
    """Nothing that roff would take for a request."""
    text = text.replace("\\", r"\e")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main()
