"""Trials that were evaluated elsewhere become known points, all at once."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.factories import MIXED, Member, join, make_experiment, statements
from tests.integration.storage.steps import charged, point_states
from tuned.domain.ending import Cause, Failure
from tuned.domain.known_trial import KnownTrial, known_trial
from tuned.domain.states import PointState
from tuned.storage.database import Database
from tuned.storage.imports import Imported, import_known, target
from tuned.storage.trials.settling import give_back

STARTED = dt.datetime(2025, 1, 31, 12, tzinfo=dt.UTC)


def known(member: Member, x: int, value: float) -> KnownTrial:
    return known_trial({"params_x": x, "value": value}, member.experiment.space, 1)


def imported(member: Member, *trials: KnownTrial) -> Imported:
    wanted = target(member.database, member.status.study_id, member.experiment.name)
    return import_known(member.database, wanted, trials)


def test_imported_points_are_known_and_charged_to_no_budget(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 5"))
    assert imported(member, known(member, 3, 0.5), known(member, 4, 0.25)) == Imported(imported=2, known=0)
    assert charged(member) == (0, 0, 2)
    duplicate = member.repeat(3)
    assert (duplicate.number, member.trial(2).values) == (2, [0.5])


def test_all_of_a_trial_is_as_it_was(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    row = {
        "params_size": "3", "params_rate": "0.6", "params_kind": "True", "value": "-inf",
        "datetime_start": STARTED.isoformat(), "datetime_complete": "2025-01-31T12:00:01.5+00:00",
        "user_attrs_note": "good", "system_attrs_constraints:latency": "inf",
    }  # fmt: skip
    imported(member, known_trial(row, member.experiment.space, 1))
    trial = member.trial(0)
    assert (trial.params, trial.values) == ({"size": 3, "rate": 0.6, "kind": True}, [-float("inf")])
    assert trial.duration == dt.timedelta(seconds=1.5)
    assert trial.datetime_start is not None
    assert trial.datetime_start.astimezone(dt.UTC) == STARTED
    assert (trial.user_attrs, trial.constraints) == ({"note": "good"}, {"latency": float("inf")})


def test_an_imported_value_reaches_the_target(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntarget = 0.5\nstalled = 1"))
    imported(member, known(member, 3, 0.75))
    assert member.now().ended_by is None
    imported(member, known(member, 4, 0.25))
    assert member.now().ended_by == "target 0.5 reached by trial 1 of another program"


def test_a_point_that_has_a_value_keeps_it(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(3, 0.75)
    twice = (known(member, 3, 0.5), known(member, 4, 0.5), known(member, 4, 0.25))
    assert imported(member, *twice) == Imported(imported=1, known=2)
    assert imported(member, *twice) == Imported(imported=0, known=3)
    assert [trial.values for trial in member.trials()] == [[0.75], [0.5]]


def test_a_point_that_a_host_holds_stays_with_it(database: Database) -> None:
    member = join(database, make_experiment())
    claimed = member.take(3)
    assert imported(member, known(member, 3, 0.5)) == Imported(imported=1, known=0)
    assert point_states(member) == {(PointState.HELD, False): 1}
    member.tell(claimed, 0.75)
    assert (member.now().visited, [t.values for t in member.trials()]) == (1, [[0.75], [0.5]])


@pytest.mark.parametrize("state", ["failed", "free"])
def test_a_point_without_a_value_gets_the_imported_one(database: Database, state: str) -> None:
    member = join(database, make_experiment())
    claimed = member.take(3)
    if state == "failed":
        member.tell(claimed)
    else:
        give_back(
            database, claimed.study_id, claimed.claim_id, Failure(cause=Cause.ABORTED, message="no room")
        )
    imported(member, known(member, 3, 0.5))
    assert (point_states(member), member.now().visited) == ({(PointState.DONE, False): 1}, 1)
    member.repeat(3)
    assert member.trials()[-1].values == [0.5]


def test_a_space_that_is_all_known_is_exhausted(database: Database) -> None:
    member = join(database, make_experiment())
    imported(member, *(known(member, x, 0.5) for x in range(9)))
    assert member.now().is_exhausted


def test_a_thousand_trials_are_a_few_statements(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    space = member.experiment.space
    rows = [
        {f"params_{name}": value for name, value in space.at(index).values.items()}
        for index in range(space.size or 0)
    ]
    trials = [known_trial({**row, "value": 1}, space, 1) for row in rows]
    with statements(database) as run:
        imported(member, *trials)
    # SQLite gives the ids of several new rows in no order, and so gets one row at a time.
    assert len([text for text in run if not text.startswith("INSERT INTO trials ")]) < 20
    assert [trial.number for trial in member.trials()] == list(range(len(rows)))
