"""The shapes of the disk: output and checkpoints that were removed, or would be."""

from typing import Annotated, Literal, TypedDict

from tuned.protocol.fields import OPEN


class RemovedView(TypedDict):
    """Directories of one experiment that go together."""

    experiment: str
    #: The directories of trials, or those of points.
    part: Annotated[Literal["output", "checkpoints"], OPEN]
    count: int
    #: The room that they take.
    size_bytes: int
    #: Why they go: keep.output and keep.points, keep.size, or a person asked for it.
    rule: Annotated[Literal["age", "size", "asked"], OPEN]


class KeepView(TypedDict):
    """The host's settings; None for no limit."""

    output_seconds: float | None
    points_seconds: float | None
    size_bytes: int | None


class CleanView(TypedDict):
    """All that was removed; or would be, if the request was to look only."""

    keep: KeepView
    removed: list[RemovedView]
    #: The room that is free now, or would be.
    freed_bytes: int
    #: The room that output and checkpoints still take, or would: of all experiments, or of the named one.
    left_bytes: int
    #: Why something could not be removed, one sentence each.
    problems: list[str]
