"""The screen of one experiment: its facts, the best value so far, its parameters, and its trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuned.protocol.experiments import ExperimentView
from tuned.protocol.trials import ImprovementsView, TrialsView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.pages import trials
from tuned.tunectl.pages.experiments import (
    best_facts,
    counts_text,
    last_number,
    notes,
    progress_text,
    state_word,
)
from tuned.tunectl.pages.words import STATE_COLOURS, budget_text, time_of_day, value_text
from tuned.tunectl.text import Cell, Colour, Column, number, printable
from tuned.tunectl.top.charts import chart
from tuned.tunectl.top.paper import Paper, Row, Section, Target, table, text_section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tuned.protocol.trials import ImprovementView, TrialView
    from tuned.tunectl.client import Client

#: A screen has no room for more, and each refresh asks for them all.
MOST_TRIALS = 200

#: Beside a chart stand its highest and its lowest value.
_LABEL_PLACES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPicture:
    view: ExperimentView
    course: Sequence[ImprovementView]
    #: The newest, the newest first.
    trials: Sequence[TrialView]

    def headline(self, paper: Paper) -> str:
        summary, canvas = self.view["summary"], paper.canvas
        word = state_word(summary)
        state = canvas.paint(f"● {word}", STATE_COLOURS.get(word, Colour.NONE))
        return f"{state}  {printable(summary['name'])}"

    def troubles(self) -> list[str]:
        return []

    def sections(self, paper: Paper) -> list[Section]:
        found = [self._facts(paper), self._course(paper), self._parameters(paper), self._trials(paper)]
        return [each for each in found if each.rows]

    def _facts(self, paper: Paper) -> Section:
        summary, canvas = self.view["summary"], paper.canvas
        facts: list[tuple[str, str | Cell]] = [("  Note", each) for each in notes(summary)]
        facts += [
            ("  Progress", progress_text(summary, paper.now)),
            # The parameters of the best trial have a list of their own.
            *(each for each in best_facts(summary) if each[0]),
            ("  Trials", counts_text(summary["counts"])),
            ("  Budget", budget_text(summary)),
            ("  Sampler", self.view["sampler"]["name"]),
            ("  Started", time_of_day(summary["started"]) if summary["started"] else "not yet"),
            ("  File", self.view["file"] or "none on this host"),
        ]
        return text_section("", canvas.facts(facts), least=5)

    def _course(self, paper: Paper) -> Section:
        width, last = paper.canvas.width, last_number(self.view["summary"])
        height = 3 if paper.height < 40 else 8
        lines = chart(self.course, last, max(10, width - _LABEL_PLACES - 2), height, is_ascii=paper.is_ascii)
        values = [each["value"] for each in self.course]
        labels = [""] * len(lines)
        if lines:
            labels[0], labels[-1] = number(max(values)), number(min(values))
        head = f"BEST SO FAR, by trial, 0 to {last}"
        painted = [
            f"{label:>{_LABEL_PLACES}}  {paper.canvas.paint(line, Colour.GREEN)}"
            for label, line in zip(labels, lines, strict=True)
        ]
        return text_section(paper.canvas.paint(head, Colour.BOLD), painted, least=1 + height)

    def _parameters(self, paper: Paper) -> Section:
        best = self.view["summary"]["best"] or self.view["summary"]["nearest"]
        values = {} if best is None else best["params"]
        columns = [Column("PARAMETER", least=8), Column("BEST", least=8), Column("RANGE", least=12)]
        space = self.view["definition"].get("space", {})
        rows = [
            [name, value_text(values[name]) if name in values else "–", range_text(of)]
            for name, of in space.items()
        ]
        head, *lines = paper.canvas.table(columns, rows)
        return text_section(head, lines, least=4)

    def _trials(self, paper: Paper) -> Section:
        name = self.view["summary"]["name"]
        if not self.trials:
            head = paper.canvas.paint("TRIAL", Colour.BOLD)
            return Section(head=head, rows=[Row(lines=("  none yet",))])
        lines = trials.trials(paper.canvas, self.trials)
        numbers = [each["number"] for each in self.trials]
        section = table(lines, [Target(name, each) for each in numbers], numbers)
        return Section(head=section.head, rows=section.rows, least=5)


def range_text(parameter: Mapping[str, Any]) -> str:
    """As the definition has it: a range with its step or scale, or the choices; and its condition."""
    if "choices" in parameter:
        text = ", ".join(value_text(each) for each in parameter["choices"])
    else:
        text = f"{value_text(parameter['low'])} to {value_text(parameter['high'])}"
        text += f", step {value_text(step)}" if (step := parameter.get("step")) else ""
        text += ", log" if parameter.get("log") else ""
    return text + (f", when {when}" if (when := parameter.get("when")) else "")


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    target: Target

    def pictures(self, client: Client) -> Iterator[ExperimentPicture]:
        path = experiment_path(self.target.experiment)
        view = client.get(path, ExperimentView)
        course = client.get(f"{path}/improvements", ImprovementsView)["improvements"]
        newest = client.get(f"{path}/trials", TrialsView, limit=MOST_TRIALS)["trials"]
        yield ExperimentPicture(view=view, course=course, trials=newest)
