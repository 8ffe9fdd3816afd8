"""The first screen: this host's experiments, its slots with their trials, and the hosts of the fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuned.errors import DatabaseAway, NotFound
from tuned.protocol.experiments import ExperimentSummary, ExperimentView
from tuned.protocol.fleet import HostsView, HostView
from tuned.protocol.host import Status
from tuned.protocol.trials import ImprovementsView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.pages import fleet
from tuned.tunectl.pages.experiments import last_number, notes, progress, seconds_left, state_word
from tuned.tunectl.pages.host import NOTHING_OPEN, headline
from tuned.tunectl.pages.words import STATE_COLOURS, report_text, short_count, values_text
from tuned.tunectl.text import Cell, Colour, Column, bar, cut, printable, span
from tuned.tunectl.top.charts import sparkline
from tuned.tunectl.top.outputs import uncoloured
from tuned.tunectl.top.paper import Paper, Row, Section, Target, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tuned.protocol.host import SlotView
    from tuned.protocol.trials import ImprovementView
    from tuned.tunectl.client import Client

#: On wider papers there is room for bars.
_WIDE = 100

_VERY_WIDE = 160

_ENDED = {"done", "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    status: Status
    #: None as long as the database has not told.
    hosts: Sequence[HostView] | None
    #: How the best value of each experiment came about, by name.
    courses: Mapping[str, Sequence[ImprovementView]]
    #: Those that were open when the screen was opened, or since, and have ended.
    ended: Sequence[ExperimentSummary] = ()

    def headline(self, paper: Paper) -> str:
        return headline(paper.canvas, self.status)

    def sections(self, paper: Paper) -> list[Section]:
        return [self._experiments(paper), self._slots(paper), self._hosts(paper)]

    def troubles(self) -> list[str]:
        """Things that concern the whole host."""
        database = self.status["database"]
        away = f"database away: {database['message'] or 'it does not answer'}"
        return [*([] if database["reachable"] else [away]), *self.status["warnings"]]

    def _experiments(self, paper: Paper) -> Section:
        canvas, views = paper.canvas, [*self.status["experiments"], *self.ended]
        if not views:
            return Section(head=canvas.paint("EXPERIMENT", Colour.BOLD), rows=[_row(NOTHING_OPEN)])
        columns = [Column("EXPERIMENT", least=8), Column("STATE"), Column("DONE", is_right=True)]
        columns += [Column("")] if canvas.width >= _WIDE else []
        columns += [Column("BEST", is_right=True, least=6), Column("BEST SO FAR")]
        columns += [Column("RUN", is_right=True), Column("FAILED", is_right=True)]
        columns += [Column("LEFT", is_right=True)]
        head, *lines = canvas.table(columns, [self._experiment_row(paper, each) for each in views])
        rows = []
        for view, line in zip(views, lines, strict=True):
            target = Target(view["name"])
            rows.append(Row(lines=(line, *_note_lines(paper, view)), key=target, opens=target))
        return Section(head=head, rows=rows, least=6)

    def _experiment_row(self, paper: Paper, view: ExperimentSummary) -> list[str | Cell]:
        width, left = paper.canvas.width, seconds_left(view, paper.now)
        done, total, _ = progress(view)
        places = 12 if width < _WIDE else 24 if width < _VERY_WIDE else 48
        course, last = self.courses.get(view["name"], ()), last_number(view)
        word = state_word(view)
        row: list[str | Cell] = [view["name"], Cell(word, STATE_COLOURS.get(word, Colour.NONE))]
        row.append(f"{short_count(done)}/{short_count(total)}" if total else short_count(done))
        row += ([bar(done, total, 10) if total else ""]) if width >= _WIDE else []
        row.append(values_text(view["best"]["values"]) if view["best"] else "–")
        row.append(Cell(sparkline(course, last, places, is_ascii=paper.is_ascii), Colour.GREEN))
        row += [str(view["counts"]["running"]), _failed(view["counts"]["failed"])]
        return [*row, "–" if left is None else span(left)]

    def _slots(self, paper: Paper) -> Section:
        slots = self.status["slots"]
        columns = [Column("SLOT", is_right=True), Column("EXPERIMENT", least=8)]
        columns += [Column("TRIAL", is_right=True), Column("FOR", is_right=True)]
        columns += [Column("REPORT", least=8), Column("LAST LINE", least=8)]
        lines = paper.canvas.table(columns, map(_slot_row, slots))
        runs = [slot["running"] for slot in slots]
        targets = [run and Target(run["experiment"], run["trial"]) for run in runs]
        return table(lines, targets, [slot["slot"] for slot in slots])

    def _hosts(self, paper: Paper) -> Section:
        if self.hosts is None:
            return Section(head=paper.canvas.paint("HOST", Colour.BOLD), rows=[_row("not known yet")])
        head, *lines = fleet.hosts(paper.canvas, self.hosts)
        return Section(head=head, rows=[Row(lines=(line,), key=line) for line in lines])


def _row(line: str) -> Row:
    return Row(lines=(line,))


def _failed(count: int) -> str | Cell:
    return Cell(str(count), Colour.RED) if count else "0"


def _note_lines(paper: Paper, view: ExperimentSummary) -> list[str]:
    """Why it does not run, and more."""
    width = paper.canvas.width
    return [paper.canvas.paint(cut(f"  {printable(each.text)}", width), each.colour) for each in notes(view)]


def _slot_row(slot: SlotView) -> list[str | Cell]:
    run = slot["running"]
    if run is None:
        return [str(slot["slot"]), Cell("idle", Colour.DIM), "", "", "", ""]
    trial = f"{run['trial']}" + (
        f" ({run['replicate']} of {run['replicates']})" if run["replicates"] > 1 else ""
    )
    report = report_text(run["report"]) if run["report"] else ""
    return [
        str(slot["slot"]),
        run["experiment"],
        trial,
        span(run["seconds"]),
        report,
        uncoloured(run.get("last_line", "")),
    ]


@dataclass(slots=True)
class OverviewPage:
    """It asks for a course anew only if the best value of its experiment has changed.

    The daemon tells of open experiments alone: the end of one is what a person waited for, so it stays.
    """

    target: Target | None = None
    _hosts: Sequence[HostView] | None = None
    _courses: dict[str, Sequence[ImprovementView]] = field(default_factory=dict)
    #: The best trial for which each course was asked.
    _known: dict[str, tuple[object, ...]] = field(default_factory=dict)
    #: The experiments that were open, by name, until it is known how they ended.
    _open: set[str] = field(default_factory=set)
    _ended: dict[str, ExperimentSummary] = field(default_factory=dict)

    def pictures(self, client: Client) -> Iterator[Overview]:
        status = client.get("/v1/status", Status, output=1)
        names = {each["name"] for each in status["experiments"]}
        self._open |= names
        for name in names & self._ended.keys():
            # A person opened it again.
            del self._ended[name]
        yield self._picture(status)
        try:
            self._hosts = client.get("/v1/hosts", HostsView)["hosts"]
            for name in self._open - names:
                self._ask_end(client, name)
            for summary in status["experiments"]:
                self._ask_course(client, summary)
        except DatabaseAway:
            pass
        yield self._picture(status)

    def _picture(self, status: Status) -> Overview:
        ended = [*self._ended.values()]
        return Overview(status=status, hosts=self._hosts, courses=dict(self._courses), ended=ended)

    def _ask_end(self, client: Client, name: str) -> None:
        try:
            summary = client.get(experiment_path(name), ExperimentView)["summary"]
        except NotFound:
            # It was deleted.
            self._open.discard(name)
            return
        # A daemon that has just begun tells of none yet.
        if summary["state"] in _ENDED:
            self._open.discard(name)
            self._ended[name] = summary
            self._ask_course(client, summary)

    def _ask_course(self, client: Client, summary: ExperimentSummary) -> None:
        name, best = summary["name"], summary["best"]
        known = (None, None) if best is None else (best["number"], best["values"])
        if best is None or self._known.get(name) == known:
            return
        try:
            view = client.get(experiment_path(name, "improvements"), ImprovementsView)
        except NotFound:
            # It was deleted meanwhile.
            return
        self._courses[name], self._known[name] = view["improvements"], known
