"""News of studies for people: written in the transaction that makes it true, and claimed by one host.

It owns the rows of ``t_notice``. The claim of a host that tries lapses by the database's clock, whatever
becomes of the host. It must never send anything.
"""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection, Row, case, exists, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tuned.config.toml import shorten
from tuned.domain.news.notices import KEPT_SECONDS, SPACING_SECONDS, Occasion, Wishes
from tuned.errors import InvalidInput
from tuned.experiment.experiment import defined
from tuned.experiment.likeness import name_in
from tuned.storage.tables.functions import epoch
from tuned.storage.tables.schema import UID_KEPT, studies, study_system_attributes, t_notice, t_study

if TYPE_CHECKING:
    from sqlalchemy import Update

    from tuned.domain.result import Result
    from tuned.storage.database import Database

    Insert: TypeAlias = postgresql.Insert | sqlite.Insert

#: A try must be over within less.
LEASE_SECONDS = 90.0

#: As many characters as the columns for people hold.
_LONGEST = 400

#: Each with its study, unless another study has that id by now.
_OF_STUDIES = (
    t_notice.join(t_study, t_study.c.study_id == t_notice.c.study_id)
    .join(study_system_attributes, UID_KEPT)
    .join(studies, studies.c.study_id == t_study.c.study_id)
)

_IS_FRESH = t_notice.c.since > epoch() - KEPT_SECONDS

#: Whether any host may try something now.
ANY_DUE = exists().where(t_notice.c.due <= epoch(), _IS_FRESH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One piece of news that this host has claimed, to try it once."""

    study_id: int
    occasion: Occasion
    #: By which a receiver knows it if it comes twice.
    id: str
    #: The study's name now.
    name: str
    words: str
    #: Seconds since 1970, by the database's clock.
    since: float
    #: How often it was tried, with this try.
    tries: int
    claim_id: str
    #: Of the study and this host together.
    wishes: Wishes
    trial: int | None = None
    #: The last one of which people were told.
    told_trial: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """Writes news of one study, in a transaction that holds the lock on our row of it."""

    connection: Connection
    #: Of this host.
    wishes: Wishes
    #: Our row, with ``study_id`` or without, and with the columns in ``PROGRESS`` as they were before.
    study: Row[Any]

    @property
    def on(self) -> frozenset[str]:
        """The events that are told of it, by its own word or else by this host's."""
        announces: str | None = self.study.announces
        return self.wishes.on if announces is None else frozenset(announces.split(","))

    @property
    def tells_better(self) -> bool:
        return Occasion.BETTER.is_wanted(self.on)

    def tell(self, result: Result, number: int, *, is_better: bool) -> None:
        """Writes the news in a result, which ended the trial of this number."""
        ending, study_id = result.ending, result.study_id
        if is_better and ending.values is not None:
            values = ", ".join(f"{value:.12g}" for value in ending.values)
            self.write(study_id, Occasion.BETTER, f"{values} in trial {number} on {result.host}", number)
        is_crash = ending.failure is not None and ending.failure.is_crash
        if is_crash and self.study.complete == 0 and Occasion.BROKEN.is_wanted(self.on):
            asked = select(t_study.c.pause_reason).where(t_study.c.study_id == study_id)
            reason = self.connection.execute(asked).scalar_one()
            # Trials that were running when it was paused make no news.
            if reason and not self.study.pause_reason:
                self.write(study_id, Occasion.BROKEN, reason)

    def write(self, study_id: int, occasion: Occasion, words: str, trial: int | None = None) -> None:
        """Writes news in place of older news of this kind, if somebody wants to hear it."""
        if occasion.is_wanted(self.on):
            values = {"id": uuid.uuid4().hex, "words": shorten(words, _LONGEST), "trial": trial}
            dialect = postgresql if self.connection.dialect.name == "postgresql" else sqlite
            study = {"study_id": study_id, "occasion": occasion.value}
            self.connection.execute(_upsert(dialect), {**study, **values})


def announce_end(connection: Connection, wishes: Wishes, study_id: int) -> None:
    """Writes that a study has ended, in the transaction that ended it. ``wishes`` are this host's."""
    study = connection.execute(select(t_study).where(t_study.c.study_id == study_id)).one()
    occasion = Occasion.ENDED if study.complete + study.reused else Occasion.FRUITLESS
    announcer = Announcer(connection=connection, wishes=wishes, study=study)
    announcer.write(study_id, occasion, study.ended_by or study.state)


@functools.cache
def _upsert(dialect: Any) -> Insert:
    insertion: Insert = dialect.insert(t_notice).values(since=epoch(), due=epoch(), tries=0)
    new, spaced = insertion.excluded, t_notice.c.tried + SPACING_SECONDS
    due = case(
        # It is being tried, or waits after a failure.
        (t_notice.c.due.is_not(None), t_notice.c.due),
        (spaced > new.since, spaced),
        else_=new.since,
    )
    same = {name: new[name] for name in ("id", "words", "trial", "since", "tries")}
    return insertion.on_conflict_do_update(
        index_elements=[t_notice.c.study_id, t_notice.c.occasion],
        set_={**same, "due": due, "problem": None},
    )


def claim(database: Database, host: Wishes) -> Notice | None:
    """Claims the oldest news that may be tried now and that this host can tell; None if there is none."""
    with database.transaction() as connection:
        for row in connection.execute(_DUE):
            wishes = _wishes(row, host)
            if wishes is None:
                continue
            claim_id = uuid.uuid4().hex
            taking = {"claim_id": claim_id, "tries": t_notice.c.tries + 1}
            times = {"due": epoch() + LEASE_SECONDS, "tried": epoch()}
            connection.execute(_of(row.study_id, row.occasion).values(**taking, **times))
            return Notice(
                study_id=row.study_id,
                occasion=Occasion(row.occasion),
                id=row.id,
                name=row.study_name,
                words=row.words,
                since=row.since,
                tries=row.tries + 1,
                claim_id=claim_id,
                wishes=wishes,
                trial=row.trial,
                told_trial=row.told_trial,
            )
    return None


_DUE = (
    select(t_notice, t_study.c.definition, studies.c.study_name)
    .select_from(_OF_STUDIES)
    .where(t_notice.c.due <= epoch(), _IS_FRESH)
    .order_by(t_notice.c.due)
    .with_for_update(of=t_notice, skip_locked=True)
)


def settle_told(database: Database, notice: Notice) -> None:
    """The news was told. If there is newer news of its kind, that comes next."""
    is_newest = t_notice.c.id == notice.id
    told = _claimed(notice).values(
        due=case((is_newest, null()), else_=t_notice.c.tried + SPACING_SECONDS),
        told_trial=notice.told_trial,
        problem=None,
    )
    with database.transaction() as connection:
        connection.execute(told)


def settle_failed(database: Database, notice: Notice, problem: str, pause_seconds: float) -> bool:
    """The try failed, and the next one comes after a pause. False if it is given up."""
    next_try = epoch() + pause_seconds
    failed = (
        _claimed(notice)
        .values(
            due=case((next_try < t_notice.c.since + KEPT_SECONDS, next_try), else_=null()),
            problem=shorten(problem, _LONGEST),
        )
        .returning(t_notice.c.due)
    )
    with database.transaction() as connection:
        row = connection.execute(failed).first()
        return row is None or row.due is not None


def undelivered(database: Database) -> dict[str, str]:
    """Why news of studies could not be told so far, by the studies' names."""
    with database.reading() as connection:
        rows = connection.execute(
            select(studies.c.study_name, t_notice.c.problem)
            .select_from(_OF_STUDIES)
            .where(t_notice.c.problem.is_not(None), _IS_FRESH)
        )
        return {row.study_name: row.problem for row in rows}


def _wishes(row: Row[Any], host: Wishes) -> Wishes | None:
    """By which a host can tell it; None if it cannot, or the definition cannot be read."""
    name = name_in(row.definition)
    try:
        experiment = defined(row.definition, str(name))
        occasion = Occasion(row.occasion)
    except (InvalidInput, ValueError):
        return None
    wishes = host if experiment.notify is None else experiment.notify.wishes(host)
    return wishes if wishes.has_way and occasion.is_wanted(wishes.on) else None


def _of(study_id: int, occasion: str) -> Update:
    return update(t_notice).where(t_notice.c.study_id == study_id, t_notice.c.occasion == occasion)


def _claimed(notice: Notice) -> Update:
    """Only the newest claim may say how it went."""
    return _of(notice.study_id, notice.occasion.value).where(t_notice.c.claim_id == notice.claim_id)
