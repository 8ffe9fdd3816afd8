"""Finds or creates the study of an experiment, and turns a study of plain Optuna into one of ours.

Owns the first row of a study and the points that its COMPLETE trials have evaluated already. Callers open the
transaction. It must never change an existing trial.
"""

from __future__ import annotations

import secrets
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import postgresql, sqlite

from tuned.domain.states import PointState, StudyState
from tuned.errors import Conflict, NotFound
from tuned.experiment.differences import ways_out
from tuned.experiment.experiment import Experiment
from tuned.experiment.likeness import name_in
from tuned.storage.database import Database
from tuned.storage.tables.functions import affected
from tuned.storage.tables.schema import (
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
from tuned.storage.trials import ends
from tuned.storage.trials.trial_rows import restored_attribute, stored_attribute

if TYPE_CHECKING:
    from tuned.storage.encoding import Encoding

#: The columns of t_study that count the ended trials of other programs.
COUNTED = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}


def renamed_study(connection: Connection, name: str) -> int | None:
    """The study that was this experiment's and that another program renamed, if none has its name now."""
    if connection.execute(select(studies.c.study_id).where(studies.c.study_name == name)).first() is not None:
        return None
    found = connection.execute(
        select(t_study.c.study_id, t_study.c.definition)
        .join(studies, studies.c.study_id == t_study.c.study_id)
        .join(study_system_attributes, UID_KEPT)
        .order_by(t_study.c.study_id.desc())
    )
    return next((row.study_id for row in found if name_in(row.definition) == name), None)


def require_ours(connection: Connection, name: str) -> None:
    """Raises NotFound if no study of tuned has this name."""
    found = connection.execute(
        select(t_study.c.study_id)
        .join(studies, studies.c.study_id == t_study.c.study_id)
        .join(study_system_attributes, UID_KEPT)
        .where(studies.c.study_name == name)
    )
    if found.first() is None:
        raise NotFound(f"study {name} is no longer in the database")


def find_or_make(connection: Connection, database: Database, experiment: Experiment) -> int:
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
            f"{[direction.name.lower() for direction in theirs]} in the database; {ways_out(experiment.name)}"
        )
    return study_id


def insert_or_nothing(database: Database, table: Table) -> Any:
    """An INSERT that does nothing if a unique index already has the row."""
    dialect = postgresql if database.is_postgresql else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def uid_of(connection: Connection, study_id: int) -> str | None:
    found = connection.execute(
        select(study_system_attributes.c.value_json).where(
            study_system_attributes.c.study_id == study_id, study_system_attributes.c.key == UID_ATTRIBUTE
        )
    ).scalar()
    return None if found is None else str(restored_attribute(found))


def check_compatible(
    connection: Connection, study_id: int, experiment: Experiment, encoding: Encoding
) -> None:
    """Raises Conflict if a trial has a parameter of ours with an incompatible distribution."""
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
                f"{name} is {ours} here and {theirs} in the database; give it another name"
            ) from None


def join(connection: Connection, study_id: int, experiment: Experiment, encoding: Encoding) -> None:
    uid = uuid.uuid4().hex
    connection.execute(
        delete(study_system_attributes).where(
            study_system_attributes.c.study_id == study_id, study_system_attributes.c.key == UID_ATTRIBUTE
        )
    )
    connection.execute(
        plain_insert(study_system_attributes).values(
            study_id=study_id, key=UID_ATTRIBUTE, value_json=stored_attribute(uid)
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
            **ends.rules(experiment),
            visited=len(points),
            **_ended(connection, study_id),
        )
    )
    rows = [
        {
            "study_id": study_id,
            "key": key,
            "replica": 0,
            "trial_id": trial_id,
            "incarnation": "",
            "state": PointState.DONE,
        }
        for key, trial_id in points.items()
    ]
    if rows:
        connection.execute(plain_insert(t_point), rows)
    ends.judge_anew(connection, study_id)


def _ended(connection: Connection, study_id: int) -> dict[str, int]:
    """How many trials ended before tuned joined the study, by the column that counts them."""
    found = connection.execute(
        select(trials.c.state, func.count().label("trials"))
        .where(trials.c.study_id == study_id)
        .group_by(trials.c.state)
    )
    counted = {row.state: row.trials for row in found}
    return {column: counted.get(state, 0) for state, column in COUNTED.items()}


def _complete_points(connection: Connection, study_id: int, encoding: Encoding) -> dict[str, int]:
    """The points that the study's COMPLETE trials evaluated, each with its first such trial."""
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
        # Not setdefault, because it would parse the text of every row.
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
