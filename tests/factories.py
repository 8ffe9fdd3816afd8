"""Small factories: an experiment, hosts that search it, claims, results; calls that start at once."""

from __future__ import annotations

import asyncio
import functools
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import delete, event, insert, inspect, select, text, update

from tests.transitions import guard
from tuned.domain.claim import Candidate, Claimant, Claimed, Duplicate, Origin, Outcome
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import Result, TellOutcome
from tuned.domain.space import Point, Value
from tuned.domain.study_status import StudyStatus
from tuned.domain.walk import Walk
from tuned.events import Events
from tuned.experiment.experiment import Experiment, parse
from tuned.search.sampling import PointSource
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.encoding import Encoding
from tuned.storage.history import History
from tuned.storage.link import Link
from tuned.storage.studies import open_study, study_statuses
from tuned.storage.tables.migrations import MIGRATION_TIMEOUT, migrate
from tuned.storage.tables.schema import (
    t_host,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from tuned.storage.trials.claims import Claims
from tuned.storage.trials.tells import tell

T = TypeVar("T")
Direction = Literal["minimize", "maximize"]

CRASH = Failure(cause=Cause.EXIT, message="exit status 1", detail={"status": 1})

#: 162 points of all kinds.
MIXED = """
[space.size]
type = "int"
low = 1
high = 9

[space.rate]
type = "float"
low = 0.0
high = 1.0
step = 0.2

[space.kind]
type = "categorical"
choices = ["a", "b", true]
"""

CONTINUOUS = """
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true
"""

#: 11 points: 3 of sgd, 4 x 2 of adam with a decay, less one that is forbidden, and one without a decay.
CONDITIONAL = """
[space.momentum]
type = "float"
low = 0.0
high = 0.2
step = 0.1
when = { optimizer = "sgd" }

[space.optimizer]
type = "categorical"
choices = ["adam", "sgd"]

[space.size]
type = "int"
low = 1
high = 5
when = { optimizer = "adam" }

[space.decay]
type = "categorical"
choices = ["slow", "fast"]
when = { size = { min = 2, max = 5 } }

[[forbid]]
size = 5
decay = "fast"
"""


def line(points: int) -> str:
    """A space of so many points: x from 0."""
    return f'\n[space.x]\ntype = "int"\nlow = 0\nhigh = {points - 1}\n'


def make_experiment(extra: str = "", *, space: str = line(9), name: str = "exp") -> Experiment:
    """From the text of a file: keys, then tables, but those of the objective and the space."""
    content = f'name = "{name}"\n{extra}\n[objective]\ncommand = ["true"]\n{space}'
    return parse(content.encode(), f"{name}.toml")


@contextmanager
def opened(url: str, *, is_guarded: bool = True) -> Iterator[Database]:
    """A database with all its tables; unless it is guarded, anybody may set any state."""
    scheme, _, place = url.partition(":///")
    if scheme == "sqlite" and not (file := Path(place)).exists():
        file.write_bytes(_new_sqlite_file(is_guarded=is_guarded))
    database = Database(url)
    try:
        _prepare(database, is_guarded=is_guarded)
        yield database
    finally:
        database.close()


@functools.cache
def _new_sqlite_file(*, is_guarded: bool) -> bytes:
    """All that it has, because a write-ahead log is gone when its database is closed."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "tuned.db")
        database = Database(f"sqlite:///{file}")
        _prepare(database, is_guarded=is_guarded)
        database.close()
        return file.read_bytes()


def _prepare(database: Database, *, is_guarded: bool = True) -> None:
    """As ``Database.prepare``, in a fraction of the time: Optuna looks through its migrations only once."""
    head = _alembic_head()
    with database.transaction() as connection:
        if database.is_postgresql:
            connection.execute(MIGRATION_TIMEOUT)
        if inspect(connection).has_table("t_meta"):
            return
        models.BaseModel.metadata.create_all(connection)
        connection.execute(
            insert(models.VersionInfoModel).values(
                schema_version=models.SCHEMA_VERSION, library_version=optuna.__version__
            )
        )
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})
        migrate(connection)
        if is_guarded:
            guard(connection)


@functools.cache
def _alembic_head() -> str:
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/tuned.db")
        database.prepare()
        with database.reading() as connection:
            head: str = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        database.close()
    return head


def make_claimant(database: Database, host: str = "h1", *, installation_id: str | None = None) -> Claimant:
    """A new incarnation of a host."""
    joined = hosts.register(database, host, installation_id or host, hosts.HostInfo())
    assert joined is not None
    return Claimant(host=host, incarnation=joined.incarnation)


def kill(database: Database, claimant: Claimant) -> None:
    """Marks a host dead, as the fleet does if its beats have stopped."""
    with database.transaction() as connection:
        dead = update(t_host).where(t_host.c.incarnation == claimant.incarnation).values(dead=True)
        connection.execute(dead)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One host at work on one study."""

    database: Database
    experiment: Experiment
    encoding: Encoding
    status: StudyStatus
    claimant: Claimant
    claims: Claims

    def point(self, x: int | None = None, **values: Value) -> Point:
        return self.encoding.space.point(values if x is None else {"x": x})

    def draw(
        self,
        x: int | None = None,
        *,
        origin: Origin = Origin.SAMPLER,
        waiting: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        **values: Value,
    ) -> Outcome:
        """Claims the point with these values as if it had been drawn."""
        candidate = Candidate(
            point=self.point(x, **values),
            origin=Origin.ENQUEUED if waiting is not None else origin,
            attributes=attributes or {},
            waiting_trial=waiting,
        )
        return self.claims.claim(candidate)

    def take(self, x: int | None = None, **values: Any) -> Claimed:
        outcome = self.draw(x, **values)
        assert isinstance(outcome, Claimed), outcome
        return outcome

    def repeat(self, x: int | None = None, **values: Any) -> Duplicate:
        outcome = self.draw(x, **values)
        assert isinstance(outcome, Duplicate), outcome
        return outcome

    def evaluate(self, x: int, *values: float) -> Claimed:
        """Claims and tells; without values it fails."""
        claimed = self.take(x)
        assert self.tell(claimed, *values) is TellOutcome.TOLD
        return claimed

    def result(self, claimed: Claimed, *values: float, **ending: Any) -> Result:
        """How an evaluation ended: without values, with a failure, unless it was pruned."""
        has_failed = not values and not ending.get("is_pruned")
        return Result(
            study_id=claimed.study_id,
            study_uid=self.status.uid,
            trial_id=claimed.trial_id,
            number=claimed.number,
            key=claimed.point.key,
            host=self.claimant.host,
            beginning=self.encoding.beginning(claimed),
            ending=Ending(values=values or None, failure=CRASH if has_failed else None, **ending),
        )

    def tell(self, claimed: Claimed, *values: float, **ending: Any) -> TellOutcome:
        return tell(self.database, self.result(claimed, *values, **ending))

    def now(self) -> StudyStatus:
        return study_statuses(self.database, [self.status.study_id])[self.status.study_id]

    def trials(self) -> list[FrozenTrial]:
        history = self.history()
        history.sync()
        return list(history.trials)

    def history(self) -> History:
        """Nothing is known yet."""
        return History(self.database, self.status.study_id, objectives=len(self.experiment.directions))

    def delete_trial(self, number: int) -> None:
        """With SQL, as a person may do it."""
        with self.database.transaction() as connection:
            which = (trials.c.study_id == self.status.study_id) & (trials.c.number == number)
            trial_id = connection.execute(select(trials.c.trial_id).where(which)).scalar_one()
            for table in (trial_values, trial_params, trial_user_attributes, trial_system_attributes, trials):
                connection.execute(delete(table).where(table.c.trial_id == trial_id))

    def trial(self, number: int) -> FrozenTrial:
        return self.trials()[number]

    def source(self, incarnation: str = "i1") -> PointSource:
        """Draws what the seed of the study, the host and this incarnation say: in each run the same."""
        claimant = Claimant(host=self.claimant.host, incarnation=incarnation)
        return PointSource(self.database, self.experiment, self.encoding, self.status, claimant)


def join(
    database: Database, experiment: Experiment, host: str = "h1", *, claimant: Claimant | None = None
) -> Member:
    """A host that opens the study, as after a restart of its daemon unless a claimant is given."""
    encoding = Encoding(experiment.space)
    status = open_study(database, experiment, encoding, is_new=True)
    claimant = claimant or make_claimant(database, host)
    claims = Claims(
        database,
        status.study_id,
        claimant=claimant,
        encoding=encoding,
        dedup=experiment.dedup,
        walk=None if status.size is None else Walk(status.size, status.seed),
        objectives=len(experiment.directions),
    )
    return Member(
        database=database,
        experiment=experiment,
        encoding=encoding,
        status=status,
        claimant=claimant,
        claims=claims,
    )


@contextmanager
def plain_optuna(
    database: Database, *, name: str = "exp", directions: Sequence[Direction] = ("minimize",)
) -> Iterator[optuna.Study]:
    """The study as a script of plain Optuna has it; made if there is none."""
    # Looking through its migrations takes longer than most tests.
    storage = RDBStorage(database.url, skip_compatibility_check=True, skip_table_creation=True)
    try:
        yield optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
    finally:
        storage.remove_session()
        storage.engine.dispose()


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Runs each call in a thread of its own, all from the same moment; their answers in this order."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        start.wait(20)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collects the statements that are sent to the database meanwhile."""
    seen: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", listen)
    yield seen
    event.remove(database.engine, "before_cursor_execute", listen)


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A daemon's line to the database, which finds out by itself when that is back."""
    link = Link(Database(url), Events("h1"), last_retry_seconds=0.3)
    watching = asyncio.create_task(link.watch())
    try:
        await link.prepare()
        yield link
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await link.landed(20)
        link.close()
