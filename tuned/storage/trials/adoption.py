"""ADOPT: a new incarnation of a host takes over trials of its earlier one, because they outlived that.

It is a part of the transaction by which the host registers, so no moment is between the two at which others
could take these trials for orphans. The lock on our row of each study puts it before or behind a settlement
and a tell. This module must never take over a trial of another installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from sqlalchemy import Connection, and_, select, update

from tuned.domain.states import PointState
from tuned.storage.tables.schema import t_host, t_point, t_study, t_trial, trials

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A trial that was taken over, with the number that it has now: a failover may have changed that."""

    claim_id: str
    #: None if the database has forgotten the claim: it is claimed again as soon as its host runs it.
    trial_id: int | None
    number: int | None


def lock_studies(connection: Connection, claims: Collection[str]) -> list[int]:
    """Locks our rows of the studies in which points are held by these claims, and returns their ids.

    It comes before any lock on a row of ``t_host``, because a tell locks in this order too.
    """
    if not claims:
        return []
    theirs = (
        select(t_point.c.study_id)
        .join(t_trial, t_trial.c.trial_id == t_point.c.trial_id)
        .where(t_trial.c.claim_id.in_(claims), t_point.c.state == PointState.HELD)
    )
    locked = (
        select(t_study.c.study_id)
        .where(t_study.c.study_id.in_(theirs))
        # Hosts that register at once do so in one order.
        .order_by(t_study.c.study_id)
        .with_for_update(key_share=True)
    )
    return list(connection.execute(locked).scalars())


def take_over(
    connection: Connection,
    claims: Collection[str],
    *,
    study_ids: Collection[int],
    installation_id: str,
    incarnation: str,
) -> tuple[Adopted, ...]:
    """Gives the trials of these claims to a new incarnation of their installation, and returns them.

    The studies are locked, and the installation's row still has its earlier incarnation. A trial that has
    ended, or was settled, is left as it is. Claims that the database does not know are among those returned.
    """
    if not claims:
        return ()
    earlier = select(t_host.c.incarnation).where(t_host.c.installation_id == installation_id)
    is_held = and_(
        t_point.c.study_id.in_(study_ids),
        t_point.c.state == PointState.HELD,
        t_point.c.incarnation.in_(earlier),
        trials.c.state == TrialState.RUNNING,
    )
    known = connection.execute(
        select(t_trial.c.claim_id, t_trial.c.trial_id, trials.c.number, is_held.label("is_held"))
        .join(trials, trials.c.trial_id == t_trial.c.trial_id)
        .join(t_point, t_point.c.trial_id == t_trial.c.trial_id, isouter=True)
        .where(t_trial.c.claim_id.in_(claims))
        .order_by(t_trial.c.trial_id)
    ).all()
    taken = [row for row in known if row.is_held]
    if taken:
        _hold(connection, [row.trial_id for row in taken], incarnation)
    forgotten = sorted(set(claims).difference(row.claim_id for row in known))
    return (
        *(Adopted(claim_id=claim_id, trial_id=None, number=None) for claim_id in forgotten),
        *(Adopted(claim_id=row.claim_id, trial_id=row.trial_id, number=row.number) for row in taken),
    )


def _hold(connection: Connection, ids: Collection[int], incarnation: str) -> None:
    held = t_point.c.trial_id.in_(ids) & (t_point.c.state == PointState.HELD)
    connection.execute(update(t_point).where(held).values(incarnation=incarnation))
    adopted = update(t_trial).where(t_trial.c.trial_id.in_(ids))
    connection.execute(adopted.values(adoptions=t_trial.c.adoptions + 1))
