"""The screen of one trial: its story, and the end of its output as it grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuned.errors import Forbidden, NotFound
from tuned.protocol.trials import StoryView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.pages import trials
from tuned.tunectl.text import Colour, printable, wrap
from tuned.tunectl.top.outputs import TAIL_BYTES, output_lines
from tuned.tunectl.top.paper import Paper, Section, Target, text_section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tuned.tunectl.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPicture:
    experiment: str
    story: StoryView
    tail: bytes
    #: Why there is no output; empty if there may be some.
    without: str

    def headline(self, paper: Paper) -> str:
        return trials.story(paper.canvas, self.experiment, self.story)[0]

    def troubles(self) -> list[str]:
        return []

    def sections(self, paper: Paper) -> list[Section]:
        _, *facts = trials.story(paper.canvas, self.experiment, self.story)
        width = paper.canvas.width - 2
        lines = output_lines(self.tail, width) or wrap(printable(self.without or "nothing yet"), width)
        output = paper.canvas.paint("OUTPUT", Colour.BOLD)
        return [
            text_section("", facts, least=max(4, paper.height // 2 - 2)),
            text_section(output, [f"  {line}" for line in lines], follows=True, least=8),
        ]


@dataclass(frozen=True, slots=True)
class TrialPage:
    target: Target
    number: int

    def pictures(self, client: Client) -> Iterator[TrialPicture]:
        name = self.target.experiment
        story = client.get(experiment_path(name, "trials", str(self.number)), StoryView)
        tail, without = b"", ""
        try:
            logs = experiment_path(name, "logs")
            tail = b"".join(client.text(logs, trial=self.number, tail=TAIL_BYTES))
        except (Forbidden, NotFound) as error:
            without = str(error)
        yield TrialPicture(experiment=name, story=story, tail=tail, without=without)
