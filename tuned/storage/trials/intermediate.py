"""LIVE: what the running trials of one host have reported, in one transaction for all of them.

The claim is the fence, as in a tell: nothing is written to a trial that has ended, or that a failover gave to
another claim. It must never wait for a trial that another transaction is ending, or touch a study's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import bindparam, delete, select

from tuned.storage.tables.schema import (
    UID_ATTRIBUTE,
    study_system_attributes,
    t_trial,
    trial_intermediate_values,
    trials,
)
from tuned.storage.trials import trial_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tuned.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The changes of one running trial since the database last heard of it."""

    claim_id: str
    study_uid: str
    #: Intermediate values by step.
    values: Mapping[int, float] = field(default_factory=dict)
    #: Steps that the database has and that are no longer kept.
    gone: Collection[int] = ()
    #: System attributes in Optuna's sense, by name, as values of JSON.
    attributes: Mapping[str, Any] = field(default_factory=dict)


#: Trials that a transaction is about to end are left out, so that none waits for another.
_RUNNING = (
    select(t_trial.c.claim_id, t_trial.c.trial_id, study_system_attributes.c.value_json)
    .join(trials, trials.c.trial_id == t_trial.c.trial_id)
    .join(
        study_system_attributes,
        (study_system_attributes.c.study_id == trials.c.study_id)
        & (study_system_attributes.c.key == UID_ATTRIBUTE),
    )
    .where(t_trial.c.claim_id.in_(bindparam("claims", expanding=True)))
    .where(trials.c.state == TrialState.RUNNING)
    .with_for_update(read=True, of=trials, skip_locked=True)
)

_FORGET = delete(trial_intermediate_values).where(
    trial_intermediate_values.c.trial_id == bindparam("trial"),
    trial_intermediate_values.c.step.in_(bindparam("gone", expanding=True)),
)


def share(database: Database, updates: Sequence[Update]) -> set[str]:
    """Writes the updates of trials that run, and returns their claims. Raises DatabaseAway.

    Callers may repeat it at will.
    """
    with database.transaction() as connection:
        ids = _running(connection, {each.claim_id: each.study_uid for each in updates})
        theirs = [(ids[each.claim_id], each) for each in updates if each.claim_id in ids]
        for trial_id, each in theirs:
            if each.gone:
                connection.execute(_FORGET, {"trial": trial_id, "gone": list(each.gone)})
        trial_rows.put_intermediate(connection, {trial_id: each.values for trial_id, each in theirs})
        attributes = {trial_id: each.attributes for trial_id, each in theirs}
        trial_rows.put_system_attributes(connection, attributes)
    return set(ids)


def _running(connection: Connection, studies: Mapping[str, str]) -> dict[str, int]:
    """The RUNNING trials of these claims, each in the study in which it was claimed."""
    found = connection.execute(_RUNNING, {"claims": list(studies)})
    return {
        row.claim_id: row.trial_id
        for row in found
        if row.value_json == trial_rows.stored_attribute(studies[row.claim_id])
    }
