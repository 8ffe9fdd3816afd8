"""The names of files and directories in a state directory: results that wait, trials' output, points.

Every other module asks here where a thing lies. This one must never make or remove anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


#: No name of a study begins with a dot.
_ASIDE = ".removed"


@dataclass(frozen=True, slots=True)
class TrialFiles:
    """The files of one trial."""

    directory: Path

    @property
    def log(self) -> Path:
        """Its output, on standard output and standard error."""
        return self.directory / "output.log"

    @property
    def work(self) -> Path:
        """Its working directory, unless its experiment sets one."""
        return self.directory / "work"

    def has_output(self) -> bool:
        """Whether it ever began here. May wait for the disk."""
        return self.log.exists() or older_part(self.log).exists()


def study_folder(name: str, study_uid: str) -> str:
    """The folder of a study's outputs, to be found by name; a later study of that name has its own."""
    return f"{name}-{study_uid[:8]}"


def older_part(log: Path) -> Path:
    """The file to which the older part of a long log is set aside."""
    return log.with_name(f"{log.name}.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One state directory, which may not be there."""

    path: Path

    @property
    def outbox(self) -> Path:
        """Results until the database has them."""
        return self.path / "outbox"

    @property
    def keeper(self) -> Path:
        """The keeper's own: its lock, its socket, and endings that no daemon has yet."""
        return self.path / "keeper"

    @property
    def trials(self) -> Path:
        """Logs and private working directories, by trial."""
        return self.path / "trials"

    @property
    def points(self) -> Path:
        """TUNED_POINT_DIR, by point."""
        return self.path / "points"

    @property
    def code(self) -> Path:
        """Unpacked snapshots of code, which trials read."""
        return self.path / "code"

    @property
    def aside(self) -> tuple[Path, Path]:
        """Where directories of trials and points lie that are being removed: a rename puts them there."""
        return self.trials / _ASIDE, self.points / _ASIDE

    @property
    def interpreters_log(self) -> Path:
        """The output of the interpreters of experiments when they were tried."""
        return self.path / "interpreters.log"

    @property
    def notify_log(self) -> Path:
        """Output of the newest command that told people."""
        return self.path / "notify.log"

    def trial(self, folder: str, number: int) -> TrialFiles:
        """The folder is study_folder()."""
        return TrialFiles(self.trials / folder / str(number))

    def point(self, study_uid: str, key: str) -> Path:
        """A point's own directory, which outlives its trials."""
        return self.points / study_uid / key

    def newest_trial(self, folder: str) -> int | None:
        """The highest number of a trial of this study that began here. May wait for the disk."""
        try:
            names = [path.name for path in (self.trials / folder).iterdir()]
        except FileNotFoundError:
            return None
        return max((int(name) for name in names if name.isdecimal()), default=None)
