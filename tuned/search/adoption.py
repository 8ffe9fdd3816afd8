"""The definition that a search follows on this host, with the host's own keys, and the ones that it followed.

It must never take over a definition that makes another search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.errors import Conflict
from tuned.experiment.differences import are_replaceable, differences

if TYPE_CHECKING:
    from tuned.domain.study_status import StudyStatus
    from tuned.experiment.experiment import Experiment


class Adoption:
    """One experiment through the revisions of its definition. Belongs to the event loop's thread."""

    def __init__(self, experiment: Experiment, status: StudyStatus) -> None:
        self.experiment = experiment
        #: The file whose local keys count on this host.
        self._own = experiment
        self._definition = status.definition
        self._revision = status.revision
        self._earlier: dict[int, Experiment] = {}
        #: The experiment that was asked for last, and all of it as text.
        self._whole = (experiment, experiment.whole())
        #: The host on which the file was dropped; empty if that is this one.
        self.origin = ""
        #: The revision up to which the file follows that host's; 0 if nobody has looked.
        self.followed = 0

    def of(self, revision: int) -> Experiment:
        """The experiment as it was then: a point that was claimed is evaluated by it."""
        return self._earlier.get(revision, self.experiment)

    def whole(self, revision: int) -> str:
        """All of the experiment as it was then: another daemon goes on by it with a trial."""
        experiment = self.of(revision)
        if self._whole[0] is not experiment:
            self._whole = experiment, experiment.whole()
        return self._whole[1]

    def localize(self, experiment: Experiment, revision: int) -> None:
        """Takes the local keys of another file, for what starts from this revision on."""
        self._own = experiment
        if self._revision >= revision:
            self.experiment = self.experiment.localized(experiment)

    def own(self, experiment: Experiment, revision: int) -> None:
        """As ``localize``: a person gave the file to this host."""
        self.localize(experiment, revision)
        self.origin = ""

    def follow(self, status: StudyStatus) -> list[str] | None:
        """Takes over what a person replaced, and returns it in words; None if nothing was replaced.

        Raises Conflict if that is another search, InvalidInput or ValueError if it cannot be read.
        """
        if (status.definition, status.revision) == (self._definition, self._revision):
            return None
        changed = differences(self._definition, status.definition)
        if not are_replaceable(changed):
            told = "; ".join(map(str, changed))
            raise Conflict(f"the study's definition was changed in the database: {told}")
        adopted = self._own.adopt(status.definition)
        changes = [each.as_change for each in differences(status.definition, self._definition)]
        if status.revision != self._revision:
            self._earlier[self._revision] = self.experiment
        self.experiment, self._definition, self._revision = adopted, status.definition, status.revision
        return changes
