"""The table ``[code]`` of an experiment file: a directory that travels with the file.

It must never read a directory.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field

from tuned.config.fields import AbsolutePath, Size, Span
from tuned.config.toml import Table, refuse
from tuned.experiment.keys import FilledArray
from tuned.experiment.scope import Scope

#: The place of the unpacked snapshot, in paths, arguments and variables of an experiment.
PLACE = "{code}"

DEFAULT_LIMIT = 64 * 1024**2

#: A snapshot is a row of the database for each MiB.
LARGEST_LIMIT = 1024**3


def placed(text: str, tree: str) -> str:
    """A path or variable in which the place of the code stands for its directory on a host."""
    return text.replace(PLACE, tree)


def _bounded(limit: int) -> int:
    return limit if limit <= LARGEST_LIMIT else refuse('at most "1G"')


class Code(Table):
    """The code of the trials: a snapshot of it is taken when the file is dropped, and goes to every host."""

    dir: Annotated[AbsolutePath | None, Scope.HOST] = Field(
        default=None,
        title='an absolute path, such as "/srv/minima"',
        description="The directory with the code, on the host on which the file is dropped. In a git work "
        "tree: all files but the ignored ones, as they are now. Elsewhere: all but hidden files and "
        "`__pycache__`.",
    )
    limit: Annotated[Size, AfterValidator(_bounded), Scope.HOST] = Field(
        default=DEFAULT_LIMIT,
        description='At most so large: bytes, or a number with K, M or G, as "256M"; up to "1G". Default: '
        "64 MiB.",
    )
    setup: Annotated[FilledArray[str] | None, Scope.FLEET] = Field(
        default=None,
        description="A program and its arguments that prepare the unpacked code, once on each host, such as "
        '["uv", "sync", "--frozen"]; no shell. `{code}` is its directory, in which it runs.',
    )
    setup_timeout: Annotated[Span, Scope.FLEET] = Field(
        default=1800.0, description="How long `setup` may take. Default: 30 minutes."
    )

    def localized(self, other: Self | None) -> Self:
        """The same for the fleet, with the local keys of another file."""
        if other is None:
            return self
        return self.model_copy(update={"dir": other.dir, "limit": other.limit})
