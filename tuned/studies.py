"""Studies in the database: open, join, pause, cancel and close them, and see where they stand.

A study made by plain Optuna is joined: its COMPLETE trials with exactly our parameters and
distributions become points that are done; everything else in it is history for the sampler.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Row, Table, and_, delete, exists, func, not_, or_, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import postgresql, sqlite

from tuned.database import Database, affected, epoch, is_below
from tuned.errors import Conflict, NotFound
from tuned.experiment import Experiment, differences, explained
from tuned.schema import (
    UID_ATTRIBUTE,
    UID_KEPT,
    studies,
    study_directions,
    study_system_attributes,
    t_point,
    t_study,
    trial_params,
    trials,
)
from tuned.states import STUDY_TRANSITIONS, PointState, StudyState, advance

if TYPE_CHECKING:
    from collections.abc import Collection

    from tuned.encoding import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the database says of a study at one moment."""

    study_id: int
    uid: str
    definition: str
    state: StudyState
    seed: int
    size: int | None
    trials: int
    trials_limit: int | None
    evaluations: int
    evaluations_limit: int | None
    #: Time that is left before nothing new starts; None without a limit or before the first claim.
    seconds_left: float | None
    visited: int
    #: Points to be evaluated again before anything is drawn: aborted or lost.
    free: int = 0
    #: Points that a host of the fleet holds now.
    held: int = 0
    #: Trials that plain Optuna enqueued, by id.
    waiting: tuple[int, ...] = ()

    @property
    def is_full(self) -> bool:
        return (
            (self.trials_limit is not None and self.trials >= self.trials_limit)
            or (self.evaluations_limit is not None and self.evaluations >= self.evaluations_limit)
            or (self.seconds_left is not None and self.seconds_left <= 0)
        )

    @property
    def is_exhausted(self) -> bool:
        return self.size is not None and self.visited >= self.size

    @property
    def is_over(self) -> bool:
        return self.held == 0 and (self.is_full or self.is_exhausted)


#: What a person asks for who wants a study to be so.
_VERBS = {
    StudyState.OPEN: "resume",
    StudyState.PAUSED: "pause",
    StudyState.CANCELLED: "cancel",
    StudyState.DONE: "end",
}

#: The budget's condition: true while something new may start.
WITHIN_BUDGET = and_(
    is_below(t_study.c.trials, t_study.c.trials_limit),
    is_below(t_study.c.evaluations, t_study.c.evaluations_limit),
    or_(
        t_study.c.seconds_limit.is_(None),
        t_study.c.first_claim.is_(None),
        epoch() - t_study.c.first_claim < t_study.c.seconds_limit,
    ),
)

_SECONDS_LEFT = (t_study.c.seconds_limit - (epoch() - t_study.c.first_claim)).label("seconds_left")


def open_study(database: Database, experiment: Experiment, encoding: Encoding, *, is_new: bool) -> Standing:
    """Opens the experiment's study, making or joining it where needed.

    ``is_new`` says that a person submitted the file just now: its definition must then be that of the
    database, and a cancelled or finished study is opened again. Raises Conflict with the differences.
    """
    with database.transaction() as connection:
        study_id = _find_or_make(connection, database, experiment)
        ours = connection.execute(select(t_study).where(t_study.c.study_id == study_id)).first()
        if ours is not None and ours.uid != _uid(connection, study_id):
            # What a deleted study left where no foreign keys are enforced.
            connection.execute(delete(t_study).where(t_study.c.study_id == study_id))
            ours = None
        if ours is None:
            _check_compatible(connection, study_id, experiment, encoding)
            _join(connection, study_id, experiment, encoding)
        elif is_new:
            if found := differences(experiment.definition(), ours.definition):
                raise Conflict(
                    f"cannot run study {experiment.name}: it exists with another definition: "
                    + explained(found)
                )
            if ours.state in (StudyState.CANCELLED, StudyState.DONE):
                _set_state(connection, study_id, StudyState.OPEN)
        return _standings(connection, [study_id])[study_id]


def _find_or_make(connection: Connection, database: Database, experiment: Experiment) -> int:
    make = insert_or_nothing(database, studies).values(study_name=experiment.name)
    made = affected(connection.execute(make)) == 1
    named = select(studies.c.study_id).where(studies.c.study_name == experiment.name)
    study_id: int = connection.execute(named.with_for_update(key_share=True)).scalar_one()
    directions = [StudyDirection[direction.upper()] for direction in experiment.directions]
    if made:
        rows = [
            {"study_id": study_id, "objective": objective, "direction": direction}
            for objective, direction in enumerate(directions)
        ]
        connection.execute(plain_insert(study_directions), rows)
        return study_id
    found = connection.execute(
        select(study_directions.c.direction)
        .where(study_directions.c.study_id == study_id)
        .order_by(study_directions.c.objective)
    )
    theirs = list(found.scalars())
    if theirs != directions:
        raise Conflict(
            f"cannot run study {experiment.name}: directions are {list(experiment.directions)} here and "
            f"{[direction.name.lower() for direction in theirs]} in the database"
        )
    return study_id


def insert_or_nothing(database: Database, table: Table) -> Any:
    """An INSERT that does nothing where a unique index is in the way."""
    dialect = postgresql if database.is_postgresql else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def _uid(connection: Connection, study_id: int) -> str | None:
    found = connection.execute(
        select(study_system_attributes.c.value_json).where(
            study_system_attributes.c.study_id == study_id, study_system_attributes.c.key == UID_ATTRIBUTE
        )
    ).scalar()
    return None if found is None else str(json.loads(found))


def _check_compatible(
    connection: Connection, study_id: int, experiment: Experiment, encoding: Encoding
) -> None:
    """Refuses a study of plain Optuna whose trials have a parameter of ours in another kind."""
    seen = connection.execute(
        select(trial_params.c.param_name, trial_params.c.distribution_json)
        .distinct()
        .join(trials, trials.c.trial_id == trial_params.c.trial_id)
        .where(trials.c.study_id == study_id)
    )
    for name, text in seen:
        ours = encoding.distributions.get(name)
        theirs = json_to_distribution(text)
        try:
            if ours is not None:
                check_distribution_compatibility(theirs, ours)
        except ValueError:
            raise Conflict(
                f"cannot run study {experiment.name}: it exists with another space: "
                f"{name} is {ours} here and {theirs} in the database"
            ) from None


def _join(connection: Connection, study_id: int, experiment: Experiment, encoding: Encoding) -> None:
    uid = uuid.uuid4().hex
    connection.execute(
        delete(study_system_attributes).where(
            study_system_attributes.c.study_id == study_id, study_system_attributes.c.key == UID_ATTRIBUTE
        )
    )
    connection.execute(
        plain_insert(study_system_attributes).values(
            study_id=study_id, key=UID_ATTRIBUTE, value_json=json.dumps(uid)
        )
    )
    points = _complete_points(connection, study_id, encoding)
    seed = experiment.sampler.seed
    connection.execute(
        plain_insert(t_study).values(
            study_id=study_id,
            uid=uid,
            definition=experiment.definition(),
            state=StudyState.OPEN,
            seed=secrets.randbits(31) if seed is None else seed,
            size=experiment.space.size,
            trials_limit=experiment.budget.trials,
            evaluations_limit=experiment.budget.evaluations,
            seconds_limit=experiment.budget.time,
            visited=len(points),
        )
    )
    rows = [
        {
            "study_id": study_id,
            "key": key,
            "replica": 0,
            "trial_id": trial_id,
            "incarnation": "",
            "claim_id": uuid.uuid4().hex,
            "state": PointState.DONE,
        }
        for key, trial_id in points.items()
    ]
    if rows:
        connection.execute(plain_insert(t_point), rows)


def _complete_points(connection: Connection, study_id: int, encoding: Encoding) -> dict[str, int]:
    """The points that the study's COMPLETE trials evaluated, with the first such trial of each."""
    found = connection.execute(
        select(trial_params.c.trial_id, trial_params.c.param_name, trial_params.c.param_value,
               trial_params.c.distribution_json)
        .join(trials, trials.c.trial_id == trial_params.c.trial_id)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.COMPLETE)
        .order_by(trial_params.c.trial_id)
    )  # fmt: skip
    parsed: dict[str, BaseDistribution] = {}
    by_trial: dict[int, dict[str, tuple[Any, BaseDistribution]]] = defaultdict(dict)
    for trial_id, name, value, text in found:
        # Not setdefault, which would parse the text of every row.
        if text not in parsed:
            parsed[text] = json_to_distribution(text)
        distribution = parsed[text]
        by_trial[trial_id][name] = (distribution.to_external_repr(value), distribution)
    points: dict[str, int] = {}
    for trial_id, parameters in by_trial.items():
        values = {name: value for name, (value, _) in parameters.items()}
        point = encoding.point(values, {name: d for name, (_, d) in parameters.items()})
        if point is not None:
            points.setdefault(point.key, trial_id)
    return points


def standings(database: Database, study_ids: Collection[int]) -> dict[int, Standing]:
    """Where these studies stand; one that was deleted is missing from the answer."""
    with database.reading() as connection:
        return _standings(connection, study_ids)


def _standings(connection: Connection, study_ids: Collection[int]) -> dict[int, Standing]:
    chosen = t_study.c.study_id.in_(study_ids)
    rows = connection.execute(
        select(t_study, _SECONDS_LEFT).join(study_system_attributes, UID_KEPT).where(chosen)
    ).all()
    counts: dict[tuple[int, str], int] = {
        (row.study_id, row.state): row.points
        for row in connection.execute(
            select(t_point.c.study_id, t_point.c.state, func.count().label("points"))
            .where(
                t_point.c.study_id.in_(study_ids),
                t_point.c.state.in_([PointState.FREE, PointState.HELD]),
            )
            .group_by(t_point.c.study_id, t_point.c.state)
        )
    }
    waiting: dict[int, list[int]] = defaultdict(list)
    for row in connection.execute(
        select(trials.c.study_id, trials.c.trial_id)
        .where(trials.c.study_id.in_(study_ids), trials.c.state == TrialState.WAITING)
        .order_by(trials.c.trial_id)
    ):
        waiting[row.study_id].append(row.trial_id)
    return {row.study_id: _standing(row, counts, waiting[row.study_id]) for row in rows}


def _standing(row: Row[Any], counts: dict[tuple[int, str], int], waiting: list[int]) -> Standing:
    return Standing(
        study_id=row.study_id,
        uid=row.uid,
        definition=row.definition,
        state=StudyState(row.state),
        seed=row.seed,
        size=row.size,
        trials=row.trials,
        trials_limit=row.trials_limit,
        evaluations=row.evaluations,
        evaluations_limit=row.evaluations_limit,
        seconds_left=row.seconds_left,
        visited=row.visited,
        free=counts.get((row.study_id, PointState.FREE), 0),
        held=counts.get((row.study_id, PointState.HELD), 0),
        waiting=tuple(waiting),
    )


def set_state(database: Database, study_id: int, state: StudyState) -> None:
    """Pauses, resumes or cancels a study for the whole fleet.

    Raises NotFound if the study is gone, Conflict if its state does not allow it. Setting the state
    that it has already is no error.
    """
    with database.locking(studies, study_id) as connection:
        _set_state(connection, study_id, state)


def _set_state(connection: Connection, study_id: int, state: StudyState) -> None:
    now = StudyState(
        connection.execute(
            select(t_study.c.state).where(t_study.c.study_id == study_id).with_for_update(key_share=True)
        ).scalar_one()
    )
    if now is state:
        return
    try:
        advance(STUDY_TRANSITIONS, now, state)
    except ValueError:
        raise Conflict(f"cannot {_VERBS[state]} the experiment: it is {now}") from None
    connection.execute(update(t_study).where(t_study.c.study_id == study_id).values(state=state))


def close_if_over(database: Database, study_id: int) -> bool:
    """Ends a study whose budget is full or whose space is exhausted, once nothing of it runs."""
    held = exists().where(t_point.c.study_id == study_id, t_point.c.state == PointState.HELD)
    try:
        # Under the study's lock no claim is in flight: none can appear between the look and the end.
        with database.locking(studies, study_id) as connection:
            ended = connection.execute(
                update(t_study)
                .where(
                    t_study.c.study_id == study_id,
                    t_study.c.state.in_([StudyState.OPEN, StudyState.PAUSED]),
                    or_(not_(WITHIN_BUDGET), t_study.c.visited >= t_study.c.size),
                    ~held,
                )
                .values(state=StudyState.DONE)
            )
            return affected(ended) == 1
    except NotFound:
        return False


def read_system_attributes(database: Database, study_id: int) -> dict[str, Any]:
    """What samplers keep with the study."""
    with database.reading() as connection:
        found = connection.execute(
            select(study_system_attributes.c.key, study_system_attributes.c.value_json).where(
                study_system_attributes.c.study_id == study_id
            )
        )
        return {row.key: json.loads(row.value_json) for row in found}


def write_system_attribute(database: Database, study_id: int, key: str, value: Any) -> None:
    kept = study_system_attributes
    with database.transaction() as connection:
        dialect = postgresql if database.is_postgresql else sqlite
        connection.execute(
            dialect.insert(kept)
            .values(study_id=study_id, key=key, value_json=json.dumps(value))
            .on_conflict_do_update(
                index_elements=[kept.c.study_id, kept.c.key], set_={"value_json": json.dumps(value)}
            )
        )
