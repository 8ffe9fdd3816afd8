"""Experiments and trials from the database, in the shapes of the control socket.

It only reads. A call runs a few statements, and their number does not grow with the number of rows. The
daemon adds the facts of its host: the running trials, the reason of a pause, the path of the file.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Row, Select, case, func, select

from tuned.domain.states import StudyState
from tuned.errors import Conflict, NotFound, TunedError
from tuned.experiment.likeness import name_in, priority_in
from tuned.experiment.tables.notify import concealed
from tuned.storage.database import Database
from tuned.storage.queries import revisions as revisions_module
from tuned.storage.queries import story as story_module
from tuned.storage.queries import trials as trials_module
from tuned.storage.queries.best import best_ids
from tuned.storage.queries.best_views import best_views, bests
from tuned.storage.queries.readable import readable, unreadable
from tuned.storage.queries.trials import duplicate, is_duplicate
from tuned.storage.tables import schema
from tuned.storage.tables.functions import all_trials, trials_in
from tuned.storage.tables.schema import (
    ENDED,
    UID_KEPT,
    studies,
    study_directions,
    study_system_attributes,
    t_study,
    t_trial,
)
from tuned.storage.tables.typed import require_typed
from tuned.storage.trials import ends
from tuned.storage.trials.budget import SECONDS_LEFT
from tuned.storage.trials.constraints import nearest_ids
from tuned.storage.trials.trial_facts import DUPLICATES

if TYPE_CHECKING:
    from tuned.protocol.experiments import Counts, ExperimentSummary, ExperimentView, HostCounts, SamplerView
    from tuned.protocol.fields import DirectionName, TrialStateName
    from tuned.protocol.trials import BestsView, BestView, StoryView, TrialView

#: How many failures ``show`` lists.
MOST_FAILURES = 5

#: How many running trials.
MOST_RUNNING = 20

#: How many names an error suggests.
MOST_NAMES = 5


def find(database: Database, name: str) -> int:
    """The id of the experiment's study. Raises NotFound, with the names of known experiments."""
    with database.reading() as connection:
        study_id: int = _find(connection, name).study_id
    return study_id


def outputs_of(database: Database, study_id: int) -> tuple[str, str]:
    """The name and the uid by which hosts keep a study's outputs, even if it was renamed. Raises NotFound."""
    with database.reading() as connection:
        row = connection.execute(_known().where(studies.c.study_id == study_id)).first()
    if row is None:
        raise NotFound("the study is no longer in the database")
    return name_in(row.definition) or row.study_name, row.uid


def summaries(database: Database, study_ids: Collection[int] | None) -> list[ExperimentSummary]:
    """These experiments, or all that tuned knows, the newest last. A deleted one is missing.

    One that cannot be read has its name, and a note that says why. Raises Conflict if none can be read.
    """
    query = _known() if study_ids is None else _known().where(studies.c.study_id.in_(study_ids))
    try:
        with database.reading() as connection:
            return _summaries(connection, connection.execute(query).all())
    except TunedError:
        raise
    except Exception:  # noqa: BLE001 (then each is read by itself, and the one that it was is logged)
        with readable(), database.reading() as connection:
            ours = select(t_study.c.study_id, studies.c.study_name).select_from(_OURS)
            names = connection.execute(ours.order_by(t_study.c.study_id)).all()
    chosen = (row for row in names if study_ids is None or row.study_id in study_ids)
    return [each for row in chosen for each in _alone(database, row.study_id, row.study_name)]


def experiment(database: Database, name: str, summary: ExperimentSummary | None = None) -> ExperimentView:
    """One experiment, without the facts of a host; its ``summary`` is not read again if it is known.

    Raises NotFound, Conflict if it cannot be read.
    """
    with readable(), database.reading() as connection:
        row = _find(connection, name)
        definition = json.loads(row.definition)
        return {
            "summary": summary or _summaries(connection, [row])[0],
            "hosts": _counts_by_host(connection, row.study_id),
            "sampler": _sampler(definition),
            "definition": concealed(definition),
            "parallel": None,
            "resources": None,
            "file": None,
            "outputs": None,
            "failures": trials_module.newest_failures(connection, row.study_id, MOST_FAILURES),
            "running": trials_module.page(
                connection, row.study_id, state="RUNNING", before=None, limit=MOST_RUNNING
            ),
            "revisions": revisions_module.revisions(connection, row.study_id),
        }


def trials(
    database: Database, study_id: int, *, state: TrialStateName | None, before: int | None, limit: int
) -> list[TrialView]:
    """The newest ``limit`` trials whose number is below ``before``, newest first."""
    with readable(), database.reading() as connection:
        return trials_module.page(connection, study_id, state=state, before=before, limit=limit)


def trials_by_value(
    database: Database, study_id: int, *, state: TrialStateName | None, limit: int
) -> list[TrialView]:
    """The trials with the best first values, the best first."""
    with readable(), database.reading() as connection:
        return trials_module.by_value(connection, study_id, state=state, limit=limit)


def trial(database: Database, study_id: int, number: int) -> TrialView:
    """Raises NotFound, Conflict if it cannot be read."""
    with readable(), database.reading() as connection:
        view = trials_module.one(connection, study_id, number)
    if view is None:
        raise _no_trial(number)
    return view


def story(database: Database, name: str, number: int) -> StoryView:
    """Raises NotFound, Conflict if it cannot be read."""
    with readable(), database.reading() as connection:
        view = story_module.story(connection, _find(connection, name).study_id, name, number)
    if view is None:
        raise _no_trial(number)
    return view


def best(database: Database, study_id: int, limit: int | None = None) -> BestsView:
    """The best trial, or the front in the order of numbers. It is empty while no value is feasible.

    A reused trial never comes before the evaluated one. With a limit: so many evaluated trials, the best
    first, or so many of the front.
    """
    with readable(), database.reading() as connection:
        return bests(connection, study_id, directions_of(connection, [study_id])[study_id], limit)


def _no_trial(number: int) -> NotFound:
    return NotFound(f"cannot show trial {number}: the experiment has no trial of this number")


#: All studies that tuned knows, without deleted ones whose id another study has now.
_OURS = t_study.join(studies, studies.c.study_id == t_study.c.study_id).join(
    study_system_attributes, UID_KEPT
)


def _known() -> Select[Any]:
    """The newest last."""
    return (
        select(t_study, studies.c.study_name, SECONDS_LEFT.label("seconds_left"))
        .select_from(_OURS)
        .order_by(t_study.c.study_id)
    )


def _alone(database: Database, study_id: int, name: str) -> list[ExperimentSummary]:
    """One experiment; if it cannot be read, its name and the reason. None if it was deleted meanwhile."""
    try:
        with readable(), database.reading() as connection:
            found = connection.execute(_known().where(studies.c.study_id == study_id)).all()
            return _summaries(connection, found)
    except Conflict as error:
        return [unreadable(name, str(error))]


def _find(connection: Connection, name: str) -> Row[Any]:
    row = connection.execute(_known().where(studies.c.study_name == name)).first()
    if row is not None:
        return row
    names = [each.study_name for each in connection.execute(_known())]
    near = difflib.get_close_matches(name, names, n=MOST_NAMES) or names[-MOST_NAMES:]
    known = f"known are {', '.join(near)}" if near else "there is none in the database yet"
    raise NotFound(f"cannot find experiment {name}: {known}")


def paused(database: Database) -> dict[str, str]:
    """The paused experiments, by name, and why; without a reason a person paused them."""
    with database.reading() as connection:
        found = connection.execute(
            select(studies.c.study_name, t_study.c.pause_reason)
            .join(studies, studies.c.study_id == t_study.c.study_id)
            .where(t_study.c.state == StudyState.PAUSED)
            .order_by(t_study.c.study_id)
        )
        return {row.study_name: row.pause_reason or "" for row in found}


def direction_names(directions: Sequence[StudyDirection]) -> list[DirectionName]:
    return ["maximize" if each is StudyDirection.MAXIMIZE else "minimize" for each in directions]


def directions_of(connection: Connection, study_ids: Collection[int]) -> dict[int, list[StudyDirection]]:
    found = connection.execute(
        select(study_directions.c.study_id, study_directions.c.direction)
        .where(study_directions.c.study_id.in_(study_ids))
        .order_by(study_directions.c.study_id, study_directions.c.objective)
    )
    directions: dict[int, list[StudyDirection]] = defaultdict(list)
    for row in found:
        directions[row.study_id].append(row.direction)
    return directions


def _summaries(connection: Connection, rows: Sequence[Row[Any]]) -> list[ExperimentSummary]:
    ids = [row.study_id for row in rows]
    directions = directions_of(connection, ids)
    counts = _counts(connection, ids)
    first = {study: found[0] for study, found in best_ids(connection, directions).items() if found}
    with_values = {study for study, each in counts.items() if each["complete"] + each["reused"] > 0}
    best_ones = best_views(connection, first)
    nearest = best_views(connection, nearest_ids(connection, with_values - first.keys()))
    return [
        _summary(
            row,
            directions[row.study_id],
            counts[row.study_id],
            best_ones.get(row.study_id),
            nearest.get(row.study_id),
        )
        for row in rows
    ]


def _summary(
    row: Row[Any],
    directions: Sequence[StudyDirection],
    counts: Counts,
    best_one: BestView | None,
    nearest: BestView | None,
) -> ExperimentSummary:
    require_typed(row, t_study)
    rules = ends.restored(row.ends)
    return {
        "name": row.study_name,
        "state": StudyState(row.state).value,
        "note": row.pause_reason or "",
        "ended_by": row.ended_by,
        "origin": "",
        "is_paused_here": False,
        "priority": priority_in(row.definition),
        "directions": direction_names(directions),
        "running": 0,
        "counts": counts,
        "trials": row.trials,
        "trials_limit": row.trials_limit,
        "evaluations": row.evaluations,
        "evaluations_limit": row.evaluations_limit,
        "seconds_left": None if row.seconds_left is None else max(0.0, row.seconds_left),
        "target": None if rules is None or rules.target is None else list(rules.target),
        "stalled": row.stalled,
        "stalled_limit": None if rules is None else rules.stalled,
        "space_size": row.size,
        "visited": row.visited,
        "started": None if row.first_claim is None else revisions_module.utc(row.first_claim),
        "best": best_one,
        "nearest": nearest,
    }


def _counts(connection: Connection, study_ids: Collection[int]) -> dict[int, Counts]:
    """From the study's own counters, which count all trials unless another program has ended some."""
    # One statement, which sees one moment.
    found = connection.execute(
        select(
            t_study.c.study_id,
            *(t_study.c[name] for name in ENDED),
            trials_in(TrialState.RUNNING).label("running"),
            trials_in(TrialState.WAITING).label("waiting"),
            all_trials().label("trials"),
        ).where(t_study.c.study_id.in_(study_ids))
    )
    counts: dict[int, Counts] = {}
    for study_id, *each, trials_now in found:
        # No counter counts a trial twice, or one that has not ended: if the sum is right, each is.
        if sum(each) == trials_now:
            complete, reused, failed, skipped, pruned, running, waiting = each
            counts[study_id] = {
                "complete": complete,
                "reused": reused,
                "failed": failed,
                "skipped": skipped,
                "pruned": pruned,
                "running": running,
                "waiting": waiting,
            }
    return counts | _counts_one_by_one(connection, set(study_ids) - counts.keys())


def _counts_one_by_one(connection: Connection, study_ids: Collection[int]) -> dict[int, Counts]:
    if not study_ids:
        return {}
    of = schema.trials.c
    found = connection.execute(
        select(
            of.study_id,
            of.state,
            func.count().label("all"),
            func.count(duplicate.c.trial_id).label("duplicates"),
        )
        .join(duplicate, is_duplicate, isouter=True)
        .where(of.study_id.in_(study_ids))
        .group_by(of.study_id, of.state)
    )
    by_study: dict[int, dict[TrialState, tuple[int, int]]] = {study_id: {} for study_id in study_ids}
    for row in found:
        by_study[row.study_id][row.state] = (row.all, row.duplicates)
    return {study_id: _counted(states) for study_id, states in by_study.items()}


def _counts_by_host(connection: Connection, study_id: int) -> list[HostCounts]:
    """In the order of the hosts' names. Trials that no host of ours evaluated come last."""
    of = schema.trials.c
    found = connection.execute(
        select(
            t_trial.c.host,
            of.state,
            func.count().label("all"),
            func.count(case((t_trial.c.kind.in_(DUPLICATES), 1))).label("duplicates"),
        )
        .select_from(schema.trials.join(t_trial, t_trial.c.trial_id == of.trial_id, isouter=True))
        .where(of.study_id == study_id, of.state != TrialState.WAITING)
        .group_by(t_trial.c.host, of.state)
    )
    by_host: dict[str | None, dict[TrialState, tuple[int, int]]] = defaultdict(dict)
    for row in found:
        by_host[trials_module.as_text(row.host)][row.state] = (row.all, row.duplicates)
    names = sorted(by_host, key=lambda name: (name is None, name or ""))
    return [{"host": name, "counts": _counted(by_host[name])} for name in names]


def _counted(states: Mapping[TrialState, tuple[int, int]]) -> Counts:
    """The counts, from the number of trials in each state and of duplicates among them."""
    none = (0, 0)
    complete, reused = states.get(TrialState.COMPLETE, none)
    failed, skipped = states.get(TrialState.FAIL, none)
    return {
        "complete": complete - reused,
        "reused": reused,
        "failed": failed - skipped,
        "skipped": skipped,
        "pruned": states.get(TrialState.PRUNED, none)[0],
        "running": states.get(TrialState.RUNNING, none)[0],
        "waiting": states.get(TrialState.WAITING, none)[0],
    }


def _sampler(definition: Mapping[str, Any]) -> SamplerView:
    """A definition has the form of a file: all keys but the name and the seed are the sampler's options."""
    options = dict(definition["sampler"])
    return {"name": options.pop("name"), "seed": options.pop("seed", None), "options": options}
