"""Faults of one experiment's rows: the daemon lives, the others go on, and so does it when it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from tests.acceptance.daemon import Daemon, an_experiment
from tests.fleet.hosts import query
from tests.poison import poisoned, poisons
from tests.waiting import until
from tuned.storage.database import Database
from tuned.storage.tables.schema import t_host, t_output, t_request, trials

#: Each of them takes a while on a busy machine.
pytestmark = pytest.mark.timeout(300)

BIG = 10**6

TABLES = ("trials", "t_study", "t_point")


class Pair:
    """A daemon with an experiment that is to be hurt, and one that is not."""

    def __init__(self, home: Path, storage: str) -> None:
        self.daemon = Daemon(home, storage=storage)
        self.script = "sleep 0.1"

    def begin(self) -> None:
        self.daemon.start()
        for name in ("victim", "innocent"):
            self.submit(name)
        for name in ("victim", "innocent"):
            self.until_more(name)

    def text(self, name: str) -> str:
        count = self.daemon.count_file(name)
        more = '[sampler]\nname = "random"\n'
        if name == "victim":
            code = self.daemon.home / "code"
            code.mkdir(exist_ok=True)
            (code / "run").write_text("1\n")
            more += f'[code]\ndir = "{code}"\n[notify]\non = ["better"]\ncommand = ["true"]\n'
        return "parallel = 1\n" + an_experiment(self.script, high=BIG, more=more, count=count)

    def submit(self, name: str) -> None:
        self.daemon.drop(name, self.text(name))

    def fill(self) -> None:
        """Replaces the victim and deletes a third experiment, so that no table is empty."""
        file = self.daemon.home / "victim.toml"
        self.script = "sleep 0.10"
        file.write_text(self.text("victim"))
        assert self.daemon.tunectl("submit", "--replace", str(file)).returncode == 0
        self.submit("gone")
        # It has a study then.
        self.until_more("gone")
        assert self.daemon.tunectl("delete", "--yes", "gone").returncode == 0
        with closing(Database(self.daemon.storage)) as database, database.transaction() as connection:
            study_id = self.study_id()
            first = select(func.min(trials.c.trial_id)).where(trials.c.study_id == study_id)
            connection.execute(
                insert(t_output).values(trial_id=first.scalar_subquery(), study_id=study_id, output=b"said")
            )
            # A command of a newer version, which this one does not know.
            connection.execute(
                insert(t_request).values(
                    request_id="r", incarnation=select(t_host.c.incarnation).scalar_subquery(),
                    command="dance", user_name="ann", host="beta", expires=2.0**40,
                )
            )  # fmt: skip

    def until_more(self, name: str) -> None:
        """Until more of its points are evaluated."""
        before = self.daemon.evaluations(name).total()

        def has_more() -> bool:
            assert self.daemon.process is not None
            assert self.daemon.process.poll() is None, self.daemon.log_tail()
            return self.daemon.evaluations(name).total() > before + 2

        until(has_more, what=lambda: f"{name} to go on; log:\n{self.daemon.log_tail()}", seconds=60)

    def study_id(self) -> int:
        return self.daemon.study("victim")._study_id

    def note(self, name: str) -> str:
        return next((e["note"] for e in self.daemon.status()["experiments"] if e["name"] == name), "")

    def mend(self) -> None:
        """As a person does: submits it again if it was let go, and tells it to go on."""
        if self.daemon.place_of("victim") in ("done", "cancelled"):
            self.submit("victim")
            self.daemon.until_in("active", "victim")
        self.daemon.tunectl("resume", "victim")


@pytest.fixture
def pair(tmp_path: Path, database_url: str) -> Iterator[Pair]:
    made = Pair(tmp_path / "h", database_url)
    try:
        yield made
    finally:
        made.daemon.close()


def test_an_odd_value_in_any_column_hurts_only_its_experiment(pair: Pair) -> None:
    pair.begin()
    pair.fill()
    with closing(Database(pair.daemon.storage)) as database:
        tables = set()
        for poison in poisons(database):
            # The first value of each column, and all of the study's.
            if poison.column in tables and poison.column.table.name != "t_study":
                continue
            if poison.column is t_host.c.incarnation:
                # So looks a second daemon on a copy of the state directory, and of two one has to end.
                continue
            tables.add(poison.column)
            with poisoned(database, poison, pair.study_id()):
                names = {each["name"] for each in pair.daemon.status()["experiments"]}
                assert "innocent" in names, str(poison)
            if pair.daemon.place_of("victim") != "active":
                pair.mend()
    pair.until_more("innocent")
    pair.mend()
    pair.until_more("victim")


@pytest.fixture
def on_postgresql(tmp_path: Path, postgresql_url: str) -> Iterator[Pair]:
    made = Pair(tmp_path / "h", postgresql_url)
    try:
        yield made
    finally:
        made.daemon.close()


def test_an_error_of_a_statement_rests_its_experiment_and_one_of_the_server_is_waited_for(
    on_postgresql: Pair,
) -> None:
    pair, storage = on_postgresql, on_postgresql.daemon.storage
    pair.begin()
    study_id = pair.study_id()
    for table in TABLES:
        query(
            storage,
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no luck' USING errcode = '22012'; END $$",
        )
        refuse = f"BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN (NEW.study_id = {study_id})"
        query(storage, f"CREATE TRIGGER fail {refuse} EXECUTE FUNCTION fail()")
        until(lambda: "no luck" in pair.note("victim"), what="the reason to be told", seconds=60)
        pair.until_more("innocent")
        query(storage, f"DROP TRIGGER fail ON {table}")
        pair.mend()
        pair.until_more("victim")
    query(
        storage,
        "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not read block' USING errcode = '58030'; END $$",
    )
    query(storage, "CREATE TRIGGER fail BEFORE UPDATE ON t_study FOR EACH ROW EXECUTE FUNCTION fail()")
    until(
        lambda: any(record["event"] == "database away" for record in pair.daemon.logged()),
        what="the database to be away", seconds=60,
    )  # fmt: skip
    query(storage, "DROP TRIGGER fail ON t_study")
    for name in ("victim", "innocent"):
        pair.until_more(name)


def test_tables_that_are_gone_rest_the_experiments_and_the_daemon_answers(on_postgresql: Pair) -> None:
    pair, storage = on_postgresql, on_postgresql.daemon.storage
    pair.begin()
    query(storage, "ALTER TABLE t_study RENAME TO elsewhere")
    until(
        lambda: any("t_study" in warning for warning in pair.daemon.status()["warnings"]),
        what="the missing table to be named", seconds=60,
    )  # fmt: skip
    assert "t_study" in pair.daemon.tunectl("list").stderr
    query(storage, "ALTER TABLE elsewhere RENAME TO t_study")
    for name in ("victim", "innocent"):
        pair.daemon.tunectl("resume", name)
        pair.until_more(name)


def test_a_study_that_another_program_renames_goes_on_and_is_told(on_postgresql: Pair) -> None:
    pair, storage = on_postgresql, on_postgresql.daemon.storage
    pair.script = "sleep 0.7; echo its last words"
    pair.begin()
    query(storage, "UPDATE studies SET study_name = 'theirs' WHERE study_name = 'victim'")
    renamed = "another program renamed study victim to theirs"
    until(lambda: renamed in pair.note("theirs"), what="the new name to be told", seconds=60)
    pair.until_more("victim")
    assert pair.daemon.summary("victim")["name"] == "theirs"
    # The output of a trial that runs is followed to its end. One that has just been claimed has none yet.
    until(
        lambda: "its last words" in pair.daemon.tunectl("logs", "--follow", "theirs").stdout,
        what="the output of a trial",
        seconds=60,
    )
    assert pair.daemon.tunectl("cancel", "victim").returncode == 0
    pair.daemon.until_in("cancelled", "victim")
