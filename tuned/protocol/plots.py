"""The words for the plots of a study, and the request to the program that draws them."""

from typing import Literal, TypedDict, get_args

from tuned.protocol.tables import ExportView

PlotKind = Literal[
    "history", "importance", "parallel", "slice", "contour", "front", "intermediate", "timeline"
]

KINDS: tuple[PlotKind, ...] = get_args(PlotKind)

#: Those that a terminal shows.
TERMINAL_KINDS: tuple[PlotKind, ...] = ("history", "slice", "front", "intermediate")

PlotForm = Literal["html", "png", "terminal"]


class PlotRequest(TypedDict):
    name: str
    #: All its trials.
    study: ExportView
    #: Empty: all that fit.
    kinds: list[PlotKind]
    form: PlotForm
    #: Of the terminal.
    columns: int
    is_ascii: bool
