"""A row that cannot be understood hides nothing but what it belongs to."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import Member, join, make_experiment, opened
from tests.poison import Poison, poisoned, poisons
from tuned.disk.code import archive
from tuned.domain.states import HostCommand
from tuned.errors import Conflict, TunedError
from tuned.storage import requests, snapshots
from tuned.storage.changes import Author, replace_definition
from tuned.storage.database import Database
from tuned.storage.deletions import delete_study
from tuned.storage.queries import experiments
from tuned.storage.queries.readable import readable
from tuned.storage.shared_files import SharedFile
from tuned.storage.studies import study_statuses
from tuned.storage.tables.schema import t_study
from tuned.storage.trials.tells import tell


def kept_code(database: Database) -> str:
    """The digest of a snapshot that the database has."""
    with tempfile.TemporaryDirectory() as home:
        code, packed = Path(home, "code"), Path(home, "archive")
        code.mkdir()
        (code / "run").write_text("1\n")
        with packed.open("wb") as into:
            manifest = archive.take(code, into, file="victim.toml", limit=100)
        snapshots.keep(database, packed, manifest)
    return manifest.digest


def two_experiments(database: Database) -> tuple[Member, Member]:
    """The first is to be poisoned, and was replaced. The other one is innocent. A third one was deleted."""
    digest = kept_code(database)
    code = '[code]\ndir = "/srv/code"\n[notify]\non = ["better"]\nurl = "https://example.org/hook"\n'
    victim = join(database, make_experiment(code, name="victim").with_snapshot(digest))
    longer = make_experiment(f"{code}[budget]\ntrials = 5", name="victim")
    file = SharedFile(host="h1", name="victim", content=b"x = 1")
    replace_definition(database, victim.status.study_id, longer, Author(user="ann", host="h1"), file=file)
    gone = join(database, make_experiment(name="gone"), claimant=victim.claimant)
    delete_study(database, gone.status.study_id, "gone", is_forced=False)
    innocent = join(database, make_experiment(name="innocent"), claimant=victim.claimant)
    for member in (victim, innocent):
        member.evaluate(1, 0.5)
        member.take(2)
    requests.ask(database, "h1", HostCommand.DRAIN, user="ann", asked_on="h2", seconds=60)
    tell(database, replace(victim.result(victim.take(3)), output=b"Traceback"))
    return victim, innocent


@pytest.mark.timeout(300)
def test_an_odd_value_in_any_column_hides_no_other_experiment(database_url: str) -> None:
    with opened(database_url, is_guarded=False) as database:
        victim, _ = two_experiments(database)
        before = [each for each in experiments.summaries(database, None) if each["name"] == "innocent"]
        for poison in poisons(database):
            with poisoned(database, poison, victim.status.study_id):
                found = experiments.summaries(database, None)
                assert [each for each in found if each["name"] == "innocent"] == before, str(poison)
                json.dumps(found)
                with suppress(TunedError):
                    json.dumps(experiments.story(database, "victim", 0))
                with suppress(TunedError):
                    json.dumps(experiments.experiment(database, "victim"))
        assert {each["state"] for each in experiments.summaries(database, None)} == {"open"}


def test_an_experiment_that_cannot_be_read_is_listed_with_the_reason(database_url: str) -> None:
    with opened(database_url, is_guarded=False) as database:
        victim, _ = two_experiments(database)
        with poisoned(database, Poison(column=t_study.c.state, value="wat"), victim.status.study_id):
            found = {each["name"]: each for each in experiments.summaries(database, None)}
            assert (found["victim"]["state"], found["innocent"]["state"]) == ("unreadable", "open")
            assert "'wat' is not a valid StudyState" in found["victim"]["note"]
            with pytest.raises(Conflict, match="in the database: ValueError: 'wat'"):
                experiments.experiment(database, "victim")
            with pytest.raises(ValueError, match="wat"):
                study_statuses(database, [victim.status.study_id])


def test_a_person_reads_why_something_cannot_be_read_and_other_errors_pass() -> None:
    with pytest.raises(Conflict, match="cannot read this in the database: KeyError: 'x'"), readable():
        raise KeyError("x")
    with pytest.raises(TunedError, match=r"^gone$"), readable():
        raise TunedError("gone")
