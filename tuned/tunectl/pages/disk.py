"""Output and checkpoints that were removed, or would be, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.domain.counts import counted
from tuned.domain.resources import rounded_size
from tuned.tunectl.text import Canvas, Cell, Colour, Column, printable, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tuned.protocol.disk import CleanView, KeepView, RemovedView


def cleaned(canvas: Canvas, view: CleanView, name: str | None, *, is_dry: bool) -> list[str]:
    """All that went, with its reason, and how much room that gave."""
    lines = []
    if view["removed"]:
        columns = [
            Column("EXPERIMENT", least=8),
            Column("WHAT"),
            Column("SIZE", is_right=True),
            Column("WHY"),
        ]
        rows = [_row(each, view["keep"]) for each in view["removed"]]
        lines += canvas.table(columns, rows)
    lines += [canvas.paint(printable(each), Colour.RED) for each in view["problems"]]
    return [*lines, _sum(view, is_dry=is_dry), *_advice(view, name)]


def removed_text(view: RemovedView) -> str:
    """``output of 12 trials``."""
    kind = "trial" if view["part"] == "output" else "point"
    return f"{printable(view['part'])} of {counted(view['count'], kind)}"


def _row(view: RemovedView, keep: KeepView) -> list[str | Cell]:
    return [
        view["experiment"],
        removed_text(view),
        rounded_size(view["size_bytes"]),
        _why(view, keep),
    ]


def _why(view: RemovedView, keep: KeepView) -> str:
    seconds = keep["output_seconds"] if view["part"] == "output" else keep["points_seconds"]
    if view["rule"] == "age" and seconds is not None:
        return f"ended over {span(seconds)} ago"
    if view["rule"] == "size" and keep["size_bytes"] is not None:
        return f"all take more than {rounded_size(keep['size_bytes'])}"
    return "asked for" if view["rule"] == "asked" else view["rule"]


def _sum(view: CleanView, *, is_dry: bool) -> str:
    left = f"{rounded_size(view['left_bytes'])} {'would be' if is_dry else 'are'} left"
    if not view["removed"] and not view["freed_bytes"]:
        return f"nothing to remove: output and checkpoints take {rounded_size(view['left_bytes'])}"
    verb = "would free" if is_dry else "freed"
    return f"{verb} {rounded_size(view['freed_bytes'])}, {left}"


def _advice(view: CleanView, name: str | None) -> Iterator[str]:
    if name is None and not any(limit is not None for limit in _limits(view["keep"])):
        yield "[keep] in tuned.toml sets no limit; for one experiment that has ended: tunectl clean NAME"


def _limits(keep: KeepView) -> tuple[float | None, ...]:
    return keep["output_seconds"], keep["points_seconds"], keep["size_bytes"]
