"""The table ``[notify]`` of an experiment file: of which events people are told, and how.

An address and a command may hold secrets, so ``concealed`` makes what readers see. It must never send
anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from tuned.config.notify import Command, Events, Url, shown_command, shown_url
from tuned.config.toml import Table, refuse
from tuned.domain.news.notices import Wishes

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notify(Table):
    """News of the experiment, which one host of the fleet sends."""

    on: Events = Field(
        default=("done", "failed"),
        description="`done`: the experiment is over, also if somebody cancelled it. `failed`: it was paused "
        "for the whole fleet because nothing but failures came, or it is over without a value. `better`: a "
        "better value, at most one a minute. An empty array: nothing, whatever the hosts' settings say.",
    )
    command: Command | None = Field(
        default=None,
        description="A program and its arguments, run as the user of trials, with the news as JSON on its "
        "standard input; no shell. Exit status 0: delivered. Default: as the hosts' settings say.",
    )
    url: Url | None = Field(
        default=None,
        description="The news is sent there as JSON, by POST, as Slack, Mattermost, Discord and ntfy take "
        "it. It is kept in the database. Default: as the hosts' settings say.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.command is not None and self.url is not None:
            refuse("either command or url", "both")
        return self

    def wishes(self, host: Wishes) -> Wishes:
        """The experiment's own, by the way of the host if it names none."""
        if self.command is None and self.url is None:
            return Wishes(on=frozenset(self.on), url=host.url, command=host.command)
        return Wishes(on=frozenset(self.on), url=self.url, command=self.command)


def concealed(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition as anybody may read it."""
    table = definition.get("notify")
    if not isinstance(table, dict):
        return dict(definition)
    shown = dict(table)
    if table.get("url") is not None:
        shown["url"] = shown_url(table["url"])
    if table.get("command") is not None:
        shown["command"] = [*shown_command(tuple(table["command"]))]
    return {**definition, "notify": shown}
