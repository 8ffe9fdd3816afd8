"""Operators change a study: they retry failed points, or replace its definition."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.factories import CRASH, Member, at_once, join, kill, line, make_claimant, make_experiment
from tuned.domain.claim import Candidate, Claimed, Closed, Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import HostState, StudyState
from tuned.errors import Conflict, NotFound
from tuned.experiment.differences import Difference
from tuned.experiment.experiment import Experiment, parse
from tuned.storage import hosts as hosts_module
from tuned.storage.changes import Author, Replacement, free_failed, replace_definition
from tuned.storage.database import Database
from tuned.storage.queries import experiments
from tuned.storage.shared_files import SharedFile
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.trials.settling import settle_orphans
from tuned.storage.trials.tells import tell

# Hosts


def test_what_each_host_holds_is_counted_by_its_incarnation(database: Database) -> None:
    one, other = (join(database, make_experiment(), host) for host in ("h1", "h2"))
    for x in range(3):
        one.take(x)
    other.take(5)
    other.evaluate(6, 0.5)
    assert hosts_module.held(database) == {one.claimant.incarnation: 3, other.claimant.incarnation: 1}


def test_who_says_goodbye_has_stopped_and_who_is_found_dead_has_not(database: Database) -> None:
    stopped, dead = (make_claimant(database, host) for host in ("h1", "h2"))
    hosts_module.leave(
        database, stopped.incarnation, hosts_module.HostInfo(state=HostState.DRAINING, slots=2)
    )
    kill(database, dead)
    rows = {row.name: row for row in hosts_module.hosts(database)}
    assert (rows["h1"].dead, rows["h1"].info) == (
        True,
        hosts_module.HostInfo(state=HostState.STOPPED, slots=2),
    )
    assert (rows["h2"].dead, rows["h2"].info) == (True, hosts_module.HostInfo())


# Failed points, once more


def fail(member: Member, x: int, failure: Failure = CRASH) -> None:
    ended = replace(member.result(member.take(x)), ending=Ending(failure=failure))
    assert tell(member.database, ended) is TellOutcome.TOLD


def test_a_retried_point_is_free_unvisited_and_ahead_of_what_is_drawn(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    fail(member, 2)
    assert member.now().visited == 2
    assert free_failed(database, member.status.study_id, None) == 1
    assert (member.now().visited, member.now().free) == (1, 1)
    freed = member.claims.next_freed()
    assert freed is not None
    assert (freed.point.values, freed.origin) == ({"x": 2}, Origin.FREED)
    member.tell(member.take(2, origin=Origin.FREED), 0.25)
    assert (member.now().visited, member.now().free, member.now().trials) == (2, 0, 3)


def test_only_what_failed_for_the_cause_is_retried(database: Database) -> None:
    member = join(database, make_experiment())
    fail(member, 1)
    fail(member, 2, Failure(cause=Cause.TIMEOUT, message='"cause": "exit"'))
    assert free_failed(database, member.status.study_id, Cause.EXIT) == 1
    assert experiments.story(database, "exp", 0)["point"] == {
        "state": "free", "trial": 0, "host": "h1", "late_of": None, "losses": 0,
    }  # fmt: skip
    assert free_failed(database, member.status.study_id, Cause.OOM) == 0


def test_a_point_that_was_given_up_may_be_lost_as_often_again(database: Database) -> None:
    hosts = [join(database, make_experiment(), f"h{n}") for n in range(3)]
    for member in hosts:
        member.take(1, origin=Origin.FREED)
        kill(database, member.claimant)
        settle_orphans(database, member.status.study_id)
    member = hosts[0]
    assert member.now().visited == 1
    assert free_failed(database, member.status.study_id, Cause.LOST) == 1
    point = experiments.story(database, "exp", 2)["point"]
    assert point is not None
    assert (point["state"], point["losses"], member.now().visited) == ("free", 0, 0)


def test_a_retry_opens_a_done_study_unless_its_budget_is_full(database: Database) -> None:
    exhausted = join(database, make_experiment(space=line(2)))
    exhausted.evaluate(0, 0.5)
    fail(exhausted, 1)
    full = join(database, make_experiment("[budget]\ntrials = 2", name="full"), claimant=exhausted.claimant)
    full.evaluate(0, 0.5)
    fail(full, 1)
    for member, state in ((exhausted, StudyState.OPEN), (full, StudyState.DONE)):
        assert close_if_over(database, member.status.study_id)
        assert free_failed(database, member.status.study_id, None) == 1
        assert member.now().state is state
    exhausted.take(1, origin=Origin.FREED)
    assert full.draw(1, origin=Origin.FREED) == Closed()


def test_a_cancelled_study_is_not_retried(database: Database) -> None:
    member = join(database, make_experiment())
    fail(member, 1)
    set_state(database, member.status.study_id, StudyState.CANCELLED)
    with pytest.raises(Conflict, match="cancelled"):
        free_failed(database, member.status.study_id, None)
    assert member.now().free == 0


def test_a_repetition_on_purpose_that_failed_is_not_retried(database: Database) -> None:
    member = join(database, make_experiment('[dedup]\non_complete = "evaluate"'))
    member.evaluate(1, 0.5)
    fail(member, 1)
    assert free_failed(database, member.status.study_id, None) == 0
    assert member.now().visited == 1


# Another definition

ANN = Author(user="ann", host="h1")


def budget(trials: int, more: str = "") -> Experiment:
    return make_experiment(f"{more}\n[budget]\ntrials = {trials}")


def runs(program: str, more: str = "") -> Experiment:
    return parse(
        f'name = "exp"\n{more}\n[objective]\ncommand = ["{program}"]\n{line(9)}'.encode(), "exp.toml"
    )


def test_another_budget_is_in_force_at_once(database: Database) -> None:
    member = join(database, budget(1))
    member.take(1)
    assert member.draw(2) == Closed()
    replace_definition(database, member.status.study_id, budget(2), ANN)
    member.take(2)
    assert member.draw(3) == Closed()
    assert (member.now().trials_limit, member.now().definition) == (2, budget(2).definition())


def test_a_larger_budget_opens_a_done_study_and_a_smaller_one_ends_it(database: Database) -> None:
    member = join(database, budget(1))
    study_id = member.status.study_id
    member.evaluate(1, 0.5)
    assert close_if_over(database, study_id)
    for trials, state in ((1, StudyState.DONE), (3, StudyState.OPEN), (2, StudyState.OPEN)):
        replace_definition(database, study_id, budget(trials), ANN)
        assert member.now().state is state
    member.evaluate(2, 0.5)
    assert close_if_over(database, study_id)


def test_a_replacement_is_a_revision_with_its_author_and_its_changes(database: Database) -> None:
    member = join(database, runs("old"))
    study_id = member.status.study_id
    local = [Difference(key="objective.workdir", mine="/b", theirs="/a")]
    file = SharedFile(host="h1", name="exp", content=b"")
    made = replace_definition(database, study_id, runs("new"), ANN, local=local, file=file)
    assert made == Replacement(
        revision=2,
        changes=(
            'objective.command: ["new"], was ["old"]',
            "objective.workdir: /b, was /a (on h1 and hosts that took the file over)",
        ),
    )
    assert (member.now().revision, member.now().definition) == (2, runs("new").definition())
    [revision] = experiments.experiment(database, "exp")["revisions"]
    told = (revision["revision"], revision["user"], revision["host"], revision["changes"])
    assert told == (2, "ann", "h1", [*made.changes])
    assert replace_definition(database, study_id, runs("new"), ANN) == Replacement(revision=2, changes=())


def test_the_words_of_local_keys_name_the_hosts_that_get_them(database: Database) -> None:
    member = join(database, runs("old"))
    study_id = member.status.study_id

    def replaced_on(host: str, workdir: str, *, is_known: bool = True, is_override: bool = True) -> str:
        text = f'[objective]\ncommand = ["old"]\nworkdir = "{workdir}"\n{line(9)}'
        local = [Difference(key="objective.workdir", mine=workdir, theirs="/before")] if is_known else None
        file = SharedFile(host=host, name="exp", content=text.encode())
        made = replace_definition(
            database,
            study_id,
            parse(text.encode(), "exp.toml"),
            Author(user="ann", host=host),
            local=local,
            file=file,
            is_override=is_override,
        )
        return "; ".join(made.changes)

    followed = "hosts that took the file over"
    words = "objective.workdir: {}, was {} (on {})"
    assert replaced_on("h1", "/a") == words.format("/a", "/before", f"h1 and {followed}")
    # A host with a file of its own changes its own keys, and one that took the file over those of all.
    assert replaced_on("h2", "/b") == words.format("/b", "/before", "h2")
    assert replaced_on("h3", "/c", is_override=False) == words.format("/c", "/before", f"h3 and {followed}")
    # A host that does not work on it has nothing of its own to change.
    assert replaced_on("h4", "/d", is_known=False, is_override=False) == words.format(
        '"/d"', '"/c"', followed
    )
    assert member.now().revision == 5


def test_only_the_newest_revisions_are_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuned.storage.changes.MOST_REVISIONS", 2)
    member = join(database, budget(1))
    for trials in (2, 3, 4):
        replace_definition(database, member.status.study_id, budget(trials), ANN)
    kept = experiments.experiment(database, "exp")["revisions"]
    assert [each["revision"] for each in kept] == [4, 3]


def test_a_trial_knows_the_revision_that_its_host_had(database: Database) -> None:
    member = join(database, runs("old"))
    member.evaluate(1, 0.5)
    replace_definition(database, member.status.study_id, runs("new"), ANN)
    # A host that has not looked yet claims under the definition that it has.
    assert member.take(2).revision == 1
    outcome = member.claims.claim(Candidate(point=member.point(3), origin=Origin.SAMPLER, revision=2))
    assert isinstance(outcome, Claimed)
    found = member.claims.find(outcome.candidate.claim_id, Origin.SAMPLER)
    assert (outcome.revision, found) == (2, outcome)
    stories = [experiments.story(database, "exp", number) for number in range(3)]
    assert [(each["revision"], each["revision_now"]) for each in stories] == [(1, 2), (1, 2), (2, 2)]
    assert [each["replacement"] is None for each in stories] == [True, True, False]


def test_a_late_value_is_of_the_revision_of_its_trial(database: Database) -> None:
    member = join(database, runs("old"))
    claimed = member.take(1)
    kill(database, member.claimant)
    settle_orphans(database, member.status.study_id)
    replace_definition(database, member.status.study_id, runs("new"), ANN)
    assert member.tell(claimed, 0.5) is TellOutcome.LATE
    assert experiments.story(database, "exp", 1)["revision"] == 1


@pytest.mark.parametrize(
    ("other", "table"),
    [
        (make_experiment('direction = "maximize"\n[budget]\ntrials = 5'), "directions"),
        (make_experiment("[budget]\ntrials = 5", space=line(3)), "space"),
        (make_experiment('[sampler]\nname = "random"'), "sampler"),
        (make_experiment("[sampler]\nseed = 1"), "sampler"),
        (make_experiment("[dedup]\npatience = 9"), "dedup"),
        (make_experiment("points = [{ x = 1 }]"), "points"),
    ],
)
def test_another_search_is_refused_with_the_ways_to_have_it(
    database: Database, other: Experiment, table: str
) -> None:
    member = join(database, budget(1))
    ways = f"with {table} changed it is another search: give it another name, or delete .*tunectl delete exp"
    with pytest.raises(Conflict, match=f"cannot replace experiment exp: .*; {ways}.*--fresh FILE"):
        replace_definition(database, member.status.study_id, other, ANN)
    assert (member.now().definition, member.now().revision) == (budget(1).definition(), 1)


def test_the_order_of_the_parameters_stays_that_of_the_walk(database: Database) -> None:
    one, other = line(3), line(3).replace("x", "y")
    member = join(database, make_experiment(space=one + other))
    replace_definition(database, member.status.study_id, budget_of(other + one), ANN)
    assert list(json.loads(member.now().definition)["space"]) == ["x", "y"]


def budget_of(space: str) -> Experiment:
    return make_experiment("[budget]\ntrials = 5", space=space)


def test_a_file_that_may_replace_what_is_there_is_refused_with_that_hint(database: Database) -> None:
    join(database, budget(1))
    with pytest.raises(Conflict, match=r"budget.trials: 2 here, 1 in the database; .*--replace FILE$"):
        join(database, budget(2))
    with pytest.raises(Conflict, match=r"tunectl delete exp; tunectl submit --fresh") as refused:
        join(database, budget(2, 'direction = "maximize"'))
    assert "--replace" not in str(refused.value)


def test_a_replacement_and_claims_at_once_are_one_after_the_other(database: Database) -> None:
    members = [join(database, runs("old"), f"h{n}") for n in range(3)]
    study_id = members[0].status.study_id
    calls: list[Callable[[], object]] = [
        *(functools.partial(member.take, x) for x, member in enumerate(members)),
        *(functools.partial(replace_definition, database, study_id, runs(each), ANN) for each in "abc"),
    ]
    at_once(*calls)
    assert (members[0].now().revision, members[0].now().trials) == (4, 3)
    changes = [each["changes"] for each in experiments.experiment(database, "exp")["revisions"]]
    now, before = (json.loads(changes[0][0].split(": ")[1].split(", was ")[place])[0] for place in (0, 1))
    assert json.loads(members[0].now().definition)["objective"]["command"] == [now]
    assert before in "abc"


def test_a_study_that_got_the_id_of_another_one_is_not_replaced(database: Database) -> None:
    member = join(database, budget(1))
    other = make_experiment("[budget]\ntrials = 2", name="other")
    with pytest.raises(NotFound):
        replace_definition(database, member.status.study_id, other, ANN)
