"""Studies: opened, deleted, paused, cancelled and closed; and their status."""

from __future__ import annotations

import functools

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from sqlalchemy import update

from tests.factories import (
    CONTINUOUS,
    Member,
    at_once,
    join,
    kill,
    line,
    make_experiment,
    opened,
    plain_optuna,
)
from tests.integration.storage.steps import delete_by_optuna, keys, open_it
from tuned.domain.claim import Claimed, Closed
from tuned.domain.states import STUDY_TRANSITIONS, StudyState
from tuned.errors import Conflict, NotFound
from tuned.experiment.experiment import parse
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over, set_state, study_statuses
from tuned.storage.tables.schema import studies, t_study
from tuned.storage.trials.settling import settle_orphans

ENDED = [StudyState.CANCELLED, StudyState.DONE]


# Opened


def test_a_new_study_stands_at_nothing_and_has_the_limits_of_the_file(database: Database) -> None:
    text = '[sampler]\nname = "random"\nseed = 7\n[budget]\ntrials = 5\nevaluations = 3\ntime = "1h"'
    status = open_it(database, make_experiment(text))
    assert (status.state, status.size, status.seed) == (StudyState.OPEN, 9, 7)
    assert (status.trials_limit, status.evaluations_limit) == (5, 3)
    spent = (status.trials, status.evaluations, status.visited, status.free, status.held)
    assert (spent, status.waiting, status.seconds_left) == ((0, 0, 0, 0, 0), (), 3600)
    assert (status.is_full, status.is_exhausted, status.is_over) == (False, False, False)


def test_a_study_without_a_seed_gets_one_that_all_hosts_share(database: Database) -> None:
    experiment = make_experiment()
    assert open_it(database, experiment).seed == open_it(database, experiment).seed


def test_a_continuous_space_has_no_size_and_is_never_exhausted(database: Database) -> None:
    status = open_it(database, make_experiment(space=CONTINUOUS))
    assert (status.size, status.is_exhausted) == (None, False)


def test_a_database_of_any_encoding_holds_any_definition(narrow_url: str) -> None:
    kind = '[space.kind]\ntype = "categorical"\nchoices = ["größer", "小さい", "🎲"]'
    experiment = make_experiment(space=kind)
    with opened(narrow_url) as database:
        definition = open_it(database, experiment).definition
        member = join(database, experiment)
        member.tell(member.take(kind="🎲"), 0.5)
        assert member.trial(0).params == {"kind": "🎲"}
    assert make_experiment(space=kind).adopt(definition) == experiment


def test_a_study_that_another_program_renamed_is_found_unless_a_person_submits_its_file_anew(
    database: Database,
) -> None:
    study_id = open_it(database, make_experiment()).study_id
    with database.transaction() as connection:
        connection.execute(update(studies).values(study_name="theirs"))
    found = open_it(database, make_experiment(), is_new=False)
    assert (found.study_id, found.name) == (study_id, "theirs")
    assert open_it(database, make_experiment()).study_id != study_id
    assert open_it(database, make_experiment(), is_new=False).name == "exp"


@pytest.mark.parametrize("is_new", [True, False])
def test_the_same_definition_again_is_the_same_study_and_changes_nothing(
    database: Database, is_new: bool
) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    assert open_it(database, make_experiment(), is_new=is_new) == member.now()


def test_workdir_path_and_env_may_differ_between_hosts(database: Database) -> None:
    text = 'name = "exp"\n[objective]\ncommand = ["true"]\n'
    one, other = (
        parse(f"{text}{local}{line(9)}".encode(), "exp.toml")
        for local in ('workdir = "/a"\nenv = { A = "1" }', 'workdir = "/b"')
    )
    assert open_it(database, one) == open_it(database, other)


def test_another_definition_is_refused_with_every_difference(database: Database) -> None:
    before = open_it(database, make_experiment('[sampler]\nname = "random"'))
    other = make_experiment('[sampler]\nname = "tpe"', space=line(5))
    with pytest.raises(Conflict) as refused:
        open_it(database, other)
    assert str(refused.value) == (
        "cannot run study exp: it exists with another definition: "
        'space.x.high: 4 here, 8 in the database; sampler.name: "tpe" here, "random" in the database; with '
        "space or sampler changed it is another search: give it another name, or delete the one that is "
        "there (tunectl delete exp; tunectl submit --fresh FILE does both)"
    )
    assert study_statuses(database, [before.study_id])[before.study_id] == before


def test_after_a_restart_the_databases_definition_wins(database: Database) -> None:
    accepted = open_it(database, make_experiment("[budget]\ntrials = 5"))
    assert open_it(database, make_experiment("[budget]\ntrials = 9"), is_new=False) == accepted


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_study_is_opened_again_only_when_a_person_submits_it(
    database: Database, state: StudyState
) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    set_state(database, member.status.study_id, state)
    assert open_it(database, make_experiment(), is_new=False).state is state
    again = open_it(database, make_experiment())
    assert (again.state, again.trials, again.visited) == (StudyState.OPEN, 1, 1)


def test_a_paused_study_stays_paused_when_it_is_submitted_again(database: Database) -> None:
    status = open_it(database, make_experiment())
    set_state(database, status.study_id, StudyState.PAUSED)
    assert open_it(database, make_experiment()).state is StudyState.PAUSED


def test_what_plain_optuna_enqueued_is_listed_in_its_order(database: Database) -> None:
    with plain_optuna(database) as study:
        for x in (7, 3):
            study.enqueue_trial({"x": x})
    member = join(database, make_experiment())
    waiting = member.now().waiting
    member.take(7, waiting=waiting[0])
    assert member.now().waiting == waiting[1:]


# Deleted


def test_a_study_that_was_deleted_stands_nowhere_and_begins_anew_when_submitted(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    member.take(2)
    delete_by_optuna(database)
    assert study_statuses(database, [member.status.study_id]) == {}
    anew = join(database, make_experiment(space=line(5)), "h2")
    assert anew.status.uid != member.status.uid
    assert (anew.now().size, anew.now().trials, anew.now().visited, anew.now().held) == (5, 0, 0, 0)
    assert keys(anew) == set()


def test_a_study_that_got_the_id_of_a_deleted_one_is_not_ours(database: Database) -> None:
    member = join(database, make_experiment())
    old = member.take(1)
    delete_by_optuna(database)
    with plain_optuna(database, name="theirs") as study:
        study.ask({"x": IntDistribution(0, 8)})
        # Only SQLite gives an id again; no server forgets ours with the study there.
        is_same = (study._study_id, study.trials[0]._trial_id) == (old.study_id, old.trial_id)
        assert is_same is not database.is_postgresql
        kill(database, member.claimant)
        assert study_statuses(database, [old.study_id]) == {}
        assert member.draw(2) == Closed()
        assert settle_orphans(database, old.study_id) == []
        with pytest.raises(NotFound):
            set_state(database, old.study_id, StudyState.PAUSED)
        assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING]


# States


@pytest.mark.parametrize("then", list(StudyState))
@pytest.mark.parametrize("now", list(StudyState))
def test_a_state_follows_another_as_the_table_says(
    database: Database, now: StudyState, then: StudyState
) -> None:
    study_id = open_it(database, make_experiment()).study_id
    with database.transaction() as connection:
        connection.execute(update(t_study).values(state=now))
    if then is now or then in STUDY_TRANSITIONS[now]:
        set_state(database, study_id, then)
        assert study_statuses(database, [study_id])[study_id].state is then
    else:
        with pytest.raises(Conflict, match=f"cannot [a-z]+ the experiment: it is {now}"):
            set_state(database, study_id, then)
        assert study_statuses(database, [study_id])[study_id].state is now


def test_the_state_of_a_study_that_is_gone_cannot_be_set(database: Database) -> None:
    study_id = open_it(database, make_experiment()).study_id
    delete_by_optuna(database)
    with pytest.raises(NotFound, match="no longer in the database"):
        set_state(database, study_id, StudyState.PAUSED)


def test_what_is_paused_lets_what_runs_end_and_goes_on_when_resumed(database: Database) -> None:
    member = join(database, make_experiment())
    claimed = member.take(1)
    set_state(database, member.status.study_id, StudyState.PAUSED)
    assert member.draw(2) == Closed()
    member.tell(claimed, 0.5)
    set_state(database, member.status.study_id, StudyState.OPEN)
    assert isinstance(member.draw(2), Claimed)


# Closed


def end_time(member: Member) -> None:
    with member.database.transaction() as connection:
        connection.execute(update(t_study).values(first_claim=t_study.c.first_claim - 3600))


@pytest.mark.parametrize("state", [StudyState.OPEN, StudyState.PAUSED])
@pytest.mark.parametrize(
    ("limit", "ended_by"),
    [
        ("trials = 2", "2 trials"),
        ("evaluations = 2", "2 evaluations"),
        ('time = "1h"', "1h is over"),
        ("space", "all 2 points visited"),
    ],
)
def test_a_study_ends_once_it_is_full_or_exhausted_and_nothing_is_held(
    database: Database, limit: str, ended_by: str, state: StudyState
) -> None:
    budget = "" if limit == "space" else f"[budget]\n{limit}"
    member = join(database, make_experiment(budget, space=line(2 if limit == "space" else 9)))
    study_id = member.status.study_id
    first, second = member.take(0), member.take(1)
    end_time(member)
    set_state(database, study_id, state)
    member.tell(first, 0.5)
    assert not close_if_over(database, study_id)
    assert not member.now().is_over
    member.tell(second)
    assert member.now().is_over
    assert close_if_over(database, study_id)
    assert (member.now().state, member.now().ended_by) == (StudyState.DONE, ended_by)
    assert not close_if_over(database, study_id)


def test_a_study_with_budget_and_points_left_does_not_end(database: Database) -> None:
    text = '[budget]\ntrials = 9\nevaluations = 9\ntime = "1h"'
    for number, extra in enumerate(("", text)):
        member = join(database, make_experiment(extra, name=f"e{number}"))
        member.evaluate(0, 0.5)
        assert not close_if_over(database, member.status.study_id)
        assert (member.now().state, member.now().is_over) == (StudyState.OPEN, False)


def test_a_budget_that_was_refunded_does_not_end_the_study(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1"))
    member.take(0)
    kill(database, member.claimant)
    settle_orphans(database, member.status.study_id)
    assert not close_if_over(database, member.status.study_id)
    assert (member.now().is_full, member.now().free) == (False, 1)


def test_a_cancelled_study_stays_cancelled_when_it_is_full(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1"))
    member.evaluate(0, 0.5)
    set_state(database, member.status.study_id, StudyState.CANCELLED)
    assert not close_if_over(database, member.status.study_id)
    assert member.now().state is StudyState.CANCELLED


def test_of_hosts_that_claim_and_close_at_once_none_ends_a_study_with_a_held_point(
    prepared_url: str,
) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        for round_ in range(4):
            member = join(first, make_experiment("[budget]\ntrials = 1", name=f"e{round_}"))
            study_id = member.status.study_id
            closers = [functools.partial(close_if_over, db, study_id) for db in (first, second)]
            outcome, *closed = at_once(functools.partial(member.draw, 1), *closers)
            assert isinstance(outcome, Claimed)
            assert closed == [False, False]
            member.tell(outcome, 0.5)
            assert sorted(at_once(*closers)) == [False, True]


def test_a_study_that_is_gone_cannot_end(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1"))
    member.evaluate(0, 0.5)
    delete_by_optuna(database)
    assert not close_if_over(database, member.status.study_id)


# Statuses


def test_statuses_are_those_of_each_study_and_of_none_that_is_missing(database: Database) -> None:
    one, two = (join(database, make_experiment(name=name), f"h-{name}") for name in ("one", "two"))
    one.evaluate(0, 0.5)
    one.take(1)
    two.evaluate(0)
    two.take(3)
    found = study_statuses(database, [one.status.study_id, two.status.study_id, 999])
    assert {study_id: (s.trials, s.visited, s.held, s.free) for study_id, s in found.items()} == {
        one.status.study_id: (2, 1, 1, 0),
        # A crash before the first value is not charged.
        two.status.study_id: (1, 1, 1, 0),
    }
    assert study_statuses(database, []) == {}
