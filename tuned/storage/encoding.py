"""Points in Optuna's terms: distributions, and the rows of a trial's parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from optuna.distributions import BaseDistribution, distribution_to_json

from tuned.domain.result import Beginning, ParamRow, Result
from tuned.domain.space import Point, Space, Value
from tuned.storage.distributions import distributions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.domain.claim import Claimed
    from tuned.domain.ending import Ending


class Encoding:
    """Translates between the points of one space and Optuna's parameters."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.distributions = distributions(space.parameters)
        self._json = {name: distribution_to_json(d) for name, d in self.distributions.items()}

    def rows(self, point: Point) -> list[ParamRow]:
        return [
            ParamRow(
                param_name=name,
                param_value=float(distribution.to_internal_repr(point.values[name])),
                distribution_json=self._json[name],
            )
            for name, distribution in self.distributions.items()
            if name in point.values
        ]

    def beginning(self, claimed: Claimed) -> Beginning:
        """How the trial of a claim began."""
        candidate = claimed.candidate
        return Beginning(
            claim_id=claimed.claim_id,
            origin=candidate.origin,
            started=claimed.claimed_at,
            params=tuple(self.rows(claimed.point)),
            attributes={name: json.dumps(value) for name, value in candidate.attributes.items()},
        )

    def result(self, claimed: Claimed, study_uid: str, host: str, ending: Ending) -> Result:
        """All that a tell needs, even after a restart, or if the database has forgotten the trial."""
        return Result(
            study_id=claimed.study_id,
            study_uid=study_uid,
            trial_id=claimed.trial_id,
            number=claimed.number,
            key=claimed.point.key,
            host=host,
            beginning=self.beginning(claimed),
            ending=ending,
        )

    def point(
        self, values: Mapping[str, Value], distributions: Mapping[str, BaseDistribution]
    ) -> Point | None:
        """The point that a trial evaluated; None unless its parameters and distributions are exactly ours.

        Of the parameters with a condition it has those whose conditions hold.
        """
        if any(self.distributions.get(name) != distribution for name, distribution in distributions.items()):
            return None
        try:
            return self.space.point(values)
        except ValueError:
            return None

    def point_of_rows(self, rows: Mapping[str, float]) -> Point:
        """The point whose parameters have these stored values."""
        return self.space.point(
            {name: d.to_external_repr(rows[name]) for name, d in self.distributions.items() if name in rows}
        )
