"""Points whose trials are gone, because a person deleted or changed them with SQL.

Nobody knows the parameters of such a point, so it is forgotten as if no host had ever held it. The walk comes
to it again. Callers of ``forget`` hold the study's lock.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, exists, select, update

from tuned.domain.states import PointState
from tuned.errors import NotFound
from tuned.storage.tables.functions import affected
from tuned.storage.tables.schema import studies, t_point, t_study, trials
from tuned.storage.trials import trial_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.domain.space import Point
    from tuned.storage.database import Database
    from tuned.storage.encoding import Encoding

_IS_ASTRAY = ~exists().where(trials.c.trial_id == t_point.c.trial_id)


def stored_point(connection: Connection, encoding: Encoding, trial_id: int, key: str) -> Point | None:
    """The point with this key, from the parameters of its trial; None if these are gone or others."""
    try:
        point = encoding.point_of_rows(trial_rows.read_params(connection, trial_id))
    except (KeyError, ValueError):
        return None
    return point if point.key == key else None


def forget(connection: Connection, study_id: int, which: Any, *, visits: int = 0) -> int:
    """Forgets these points of a study, of which so many were visited, and returns how many rows that were."""
    mine = t_study.c.study_id == study_id
    connection.execute(update(t_study).where(mine).values(visited=t_study.c.visited - visits, cursor=0))
    return affected(connection.execute(t_point.delete().where(t_point.c.study_id == study_id, which)))


def forget_free(database: Database, study_id: int, keys: Sequence[str]) -> None:
    """Forgets free points that nobody can evaluate again."""
    with contextlib.suppress(NotFound), database.locking(studies, study_id) as connection:
        forget(connection, study_id, t_point.c.key.in_(keys) & (t_point.c.state == PointState.FREE))


def astray_points(database: Database) -> dict[str, int]:
    """How many points of each experiment have no trial any more, except held ones."""
    with database.reading() as connection:
        found = connection.execute(
            select(studies.c.study_name)
            .join(t_point, t_point.c.study_id == studies.c.study_id)
            .where(_IS_ASTRAY, t_point.c.state != PointState.HELD)
        ).scalars()
        counts: dict[str, int] = {}
        for name in found:
            counts[name] = counts.get(name, 0) + 1
    return counts


def forget_astray(database: Database, name: str) -> int:
    """Forgets the points of an experiment that have no trial any more, and returns how many."""
    with database.reading() as connection:
        study_id = connection.execute(select(studies.c.study_id).where(studies.c.study_name == name)).scalar()
    if study_id is None:
        return 0
    try:
        with database.locking(studies, study_id) as connection:
            of_study = (t_point.c.study_id == study_id) & (t_point.c.state != PointState.HELD) & _IS_ASTRAY
            states = connection.execute(select(t_point.c.state, t_point.c.replica).where(of_study)).all()
            visits = sum(PointState(row.state).is_visited and row.replica == 0 for row in states)
            return forget(connection, study_id, of_study, visits=visits)
    except NotFound:
        return 0
