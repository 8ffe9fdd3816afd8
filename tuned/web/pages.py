"""The pages: of the fleet, of one experiment, of one trial. Each is made of what the reader found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuned.errors import NotFound, TunedError
from tuned.storage.queries.host_views import host_view
from tuned.web import charts
from tuned.web.plots import PATIENCE_SECONDS
from tuned.web.rendering import Page, counted, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.trials import StoryView
    from tuned.web.host import Host
    from tuned.web.plots import Painter, Plots
    from tuned.web.reader import Detail, Experiment, Fleet, Reader

#: How many of a front are listed.
_MOST_BEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Makes each page anew; parts that are the same text are the same part."""

    reader: Reader
    painter: Painter
    host: Host
    allows_changes: bool

    async def fleet(self) -> Page:
        fleet = await self.reader.fleet()
        busy = Counter(each["host"] for each in fleet.running)
        hosts = [host_view(row, busy[row.name], None) for row in fleet.hosts]
        return Page(
            title="Fleet",
            parts={
                "trouble": _trouble(fleet, fleet.local["warnings"] if fleet.local else ()),
                "summary": render("summary.html", fleet=fleet, hosts=hosts),
                "running": render("running.html", fleet=fleet),
                "experiments": render("experiments.html", fleet=fleet, spark=_spark),
                "hosts": render("hosts.html", hosts=hosts),
            },
            twin={
                "trouble": fleet.trouble,
                "warnings": fleet.local["warnings"] if fleet.local else [],
                "hosts": hosts,
                "running": list(fleet.running),
                "experiments": [{**each.summary, "course": list(each.course)} for each in fleet.experiments],
            },
        )

    async def experiment(self, name: str, *, waits: bool = False) -> Page:
        """``waits``: for charts that are still drawn. Raises NotFound, Conflict, DatabaseAway."""
        fleet = await self.reader.fleet()
        detail = await self.reader.detail(name)
        found = fleet.of(name)
        if found is None:
            raise NotFound(f"cannot find experiment {name}")
        plots = await self.painter.plots(found, detail, patience=None if waits else PATIENCE_SECONDS)
        summary = detail.view["summary"]
        shown = {"summary": summary, "view": detail.view, "detail": detail, "found": found}
        return Page(
            title=name,
            parts={
                "trouble": _trouble(fleet),
                "head": render("head.html", **shown, allows_changes=self.allows_changes),
                "running": render("running_of.html", **shown, running=fleet.running_of(name)),
                "charts": render("charts.html", **shown, **_charts(found, detail, plots)),
                "best": render("best.html", **shown, most=_MOST_BEST),
                "trials": render("trials.html", **shown),
                "facts": render("facts.html", **shown),
            },
            twin={
                "experiment": detail.view,
                "course": list(found.course),
                "best": detail.bests,
                "running": list(fleet.running_of(name)),
                "curves": {str(number): reports for number, reports in detail.curves.items()},
                "importances": plots.importances if plots else None,
                "trials": detail.trials,
            },
        )

    async def trial(self, name: str, number: int) -> Page:
        """Raises NotFound, Conflict, DatabaseAway."""
        fleet = await self.reader.fleet()
        story = await self.reader.story(name, number)
        output = await self._output(name, story, fleet)
        curve = charts.curves({number: [(each["step"], float(each["value"])) for each in story["reports"]]})
        shown = {"name": name, "story": story, "trial": story["trial"]}
        return Page(
            title=f"{name} · trial {number}",
            parts={
                "trouble": _trouble(fleet),
                "head": render("trial.html", **shown),
                "story": render("story.html", **shown),
                "curve": render("curve.html", **shown, curve=curve),
                "output": render("output.html", **shown, output=output),
            },
            twin={"experiment": name, "story": story, "output": output},
        )

    async def _output(self, name: str, story: StoryView, fleet: Fleet) -> str | None:
        """Only this host's daemon has it, and only that of its own trials."""
        host = story["trial"]["host"]
        if fleet.local is None or host != fleet.local["host"]:
            return None
        return await self.host.output(name, story["trial"]["number"])


def problem(error: TunedError) -> Page:
    return Page(
        title="Not to be shown",
        parts={"head": render("problem.html", message=str(error))},
        twin={"error": {"code": error.code, "message": str(error)}},
        status=error.status,
    )


def whole(page: Page, *, address: str, allows_changes: bool) -> str:
    return render("base.html", page=page, address=address, allows_changes=allows_changes)


def _trouble(fleet: Fleet, warnings: Sequence[str] = ()) -> str:
    return render("trouble.html", trouble=fleet.trouble, warnings=warnings)


def _spark(found: Experiment) -> str:
    return charts.sparkline([float(each["value"]) for each in found.course])


def _charts(found: Experiment, detail: Detail, plots: Plots | None) -> dict[str, object]:
    curves = {
        number: [(each["step"], float(each["value"])) for each in reports]
        for number, reports in detail.curves.items()
    }
    course = [(each["number"], float(each["value"])) for each in found.course]
    return {
        "course": charts.course(course, counted(found.summary) - 1),
        "curves": charts.curves(curves),
        "plots": plots,
    }
