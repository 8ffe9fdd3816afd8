"""The help texts: commands in groups, each with examples, and where the documentation is.

It owns the groups and the examples. It must never run a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DOCUMENTATION = "https://github.com/OWNER/tuned/tree/main/docs"

#: Titles with their commands. A command that is in none is listed last.
GROUPS: Mapping[str, Sequence[str]] = {
    "Reading": ("status", "top", "list", "show", "trials", "best", "explain", "logs", "events"),
    "Experiment files": ("check", "try", "submit"),
    "Tables and plots of trials": ("export", "import", "plot"),
    "Changing experiments": ("pause", "resume", "retry", "cancel", "delete", "wait"),
    "This host and the fleet": ("hosts", "doctor", "clean", "drain", "abort", "restart"),
}

_OTHERS = "Other"

#: Of the whole command, and of each.
EXAMPLES: Mapping[str, Sequence[str]] = {
    "tunectl": (
        "tunectl try minima.toml",
        "tunectl submit minima.toml && tunectl wait minima",
        "tunectl best minima",
    ),
    "abort": ("tunectl abort",),
    "best": ("tunectl best minima", "tunectl best minima -n 5", "tunectl best minima --json"),
    "cancel": ("tunectl cancel minima",),
    "check": ("tunectl check minima.toml", "tunectl check *.toml"),
    "clean": ("tunectl clean --dry-run", "tunectl clean", "tunectl clean minima"),
    "delete": ("tunectl delete minima", "tunectl delete --yes minima"),
    "doctor": ("tunectl doctor", "tunectl doctor --fix"),
    "drain": ("tunectl drain --wait && systemctl start tuned",),
    "restart": ("tunectl restart",),
    "top": ("tunectl top", "tunectl top --once"),
    "events": ("tunectl events", "tunectl events --json"),
    "explain": ("tunectl explain minima 17",),
    "export": ("tunectl export minima -o minima.csv", "tunectl export minima --format jsonl | jq .value"),
    "help": ("tunectl help trials",),
    "hosts": ("tunectl hosts", "tunectl hosts --forget gamma"),
    "import": (
        "tunectl import minima minima.csv",
        "tunectl import minima --study older",
        "tunectl import minima --study older --storage sqlite:////srv/older.db",
    ),
    "list": ("tunectl list", "tunectl list --json"),
    "logs": ("tunectl logs minima", "tunectl logs minima 17", "tunectl logs -f minima"),
    "pause": ("tunectl pause minima",),
    "plot": (
        "tunectl plot minima",
        "tunectl plot --terminal minima",
        "tunectl plot minima --kind slice -o slices.png",
    ),
    "resume": ("tunectl resume minima",),
    "retry": ("tunectl retry minima --failed", "tunectl retry minima --failed --cause oom"),
    "show": ("tunectl show minima",),
    "status": ("tunectl status", "tunectl status --json"),
    "submit": (
        "tunectl submit minima.toml",
        "tunectl submit --replace minima.toml",
        "tunectl submit --fresh minima.toml",
    ),
    "trials": (
        "tunectl trials minima -n 50",
        "tunectl trials minima --state fail",
        "tunectl trials minima --sort value",
    ),
    "try": ("tunectl try minima.toml", "tunectl try --random minima.toml"),
    "wait": ("tunectl wait minima && tunectl best minima",),
}


class Manual(click.Group):
    """The group of all commands, with its own form of help."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(cmd, name)
        cmd.epilog = _examples(cmd.name or "")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = {name for names in GROUPS.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in listed]
        for title, names in {**GROUPS, _OTHERS: others}.items():
            rows = [
                (name, command.get_short_help_str(formatter.width))
                for name in names
                if (command := self.get_command(ctx, name)) is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_spacing=4)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in EXAMPLES["tunectl"]:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        formatter.write_paragraph()
        formatter.write(f"Documentation: {DOCUMENTATION}\n")


def _examples(name: str) -> str | None:
    """A paragraph that click does not wrap anew."""
    lines = EXAMPLES.get(name)
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)]) if lines else None


@click.command("help")
@click.argument("command", required=False)
@click.pass_context
def help_command(context: click.Context, command: str | None) -> None:
    """Show this help, or that of a command."""
    parent = context.parent
    assert parent is not None
    group = parent.command
    assert isinstance(group, Manual)
    if command is None:
        click.echo(group.get_help(parent))
        return
    found = group.get_command(parent, command)
    if found is None:
        raise click.UsageError(f"no such command '{command}'", parent)
    # A context of its own, so that the usage line is the command's.
    inner = click.Context(found, info_name=command, parent=parent, help_option_names=["-h", "--help"])
    inner.max_content_width = parent.max_content_width
    click.echo(found.get_help(inner))
