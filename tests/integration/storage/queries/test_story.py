"""The story of one trial."""

from __future__ import annotations

import pytest
from optuna.trial import create_trial

from tests.factories import CRASH, Member, join, kill, make_experiment, plain_optuna
from tuned.domain.claim import Origin
from tuned.domain.result import TellOutcome
from tuned.errors import NotFound
from tuned.protocol.trials import StoryView
from tuned.storage.database import Database
from tuned.storage.queries import experiments
from tuned.storage.trials.settling import settle_orphans


def tell_story(member: Member, number: int) -> StoryView:
    return experiments.story(member.database, "exp", number)


def test_a_story_tells_where_the_point_came_from_and_what_became_of_it(database: Database) -> None:
    member = join(database, make_experiment())
    member.take(1, origin=Origin.POINTS)
    member.evaluate(2, 0.5)
    other = join(database, make_experiment(), "h2")
    other.repeat(2)
    held, done, reused = (tell_story(member, number) for number in range(3))
    assert (held["origin"], held["sampler"], held["late_of"]) == ("points", "tpe", None)
    assert held["point"] == {"state": "held", "trial": 0, "host": "h1", "late_of": None, "losses": 0}
    assert done["point"] == reused["point"]
    assert reused["point"] == {"state": "done", "trial": 1, "host": "h1", "late_of": None, "losses": 0}
    assert reused["trial"]["duplicate_of"] == {"number": 1, "host": "h1"}


def test_a_story_tells_why_a_trial_was_retried(database: Database) -> None:
    member = join(database, make_experiment())
    member.tell(member.take(1), 0.5, retried=(CRASH, CRASH))
    assert tell_story(member, 0)["retried"] == [{"cause": "exit", "message": "exit status 1"}] * 2


def test_a_story_tells_the_values_of_replicates(database: Database) -> None:
    member = join(database, make_experiment("[replicates]\ncount = 3"))
    member.tell(member.take(1), 0.5, replicates=((0.25,), (0.75,)), begun=2)
    member.take(2)
    plan = {"count": 3, "reduce": "mean"}
    assert tell_story(member, 0)["replicates"] == {**plan, "values": [[0.25], [0.75]]}
    assert tell_story(member, 1)["replicates"] == {**plan, "values": []}
    other = join(database, make_experiment(name="other"))
    other.take(1)
    assert experiments.story(database, "other", 0)["replicates"] is None


def test_the_story_of_a_lost_trial_and_of_its_late_value_name_each_other(database: Database) -> None:
    member = join(database, make_experiment())
    lost = member.take(1)
    kill(database, member.claimant)
    settle_orphans(database, member.status.study_id)
    free = tell_story(member, 0)["point"]
    assert free == {"state": "free", "trial": 0, "host": "h1", "late_of": None, "losses": 1}
    assert member.tell(lost, 0.5) is TellOutcome.LATE
    point = {"state": "done", "trial": 1, "host": "h1", "late_of": 0, "losses": 1}
    assert (tell_story(member, 0)["point"], tell_story(member, 1)["point"]) == (point, point)
    assert (tell_story(member, 1)["origin"], tell_story(member, 1)["late_of"]) == ("late", 0)


def test_a_trial_of_another_program_has_a_story_too(database: Database) -> None:
    with plain_optuna(database) as study:
        study.add_trial(create_trial(value=0.5, user_attrs={"RETRIED": 7, "LATE_OF": "x"}))
    member = join(database, make_experiment())
    story = tell_story(member, 0)
    assert (story["origin"], story["point"], story["retried"], story["late_of"]) == (None, None, [], None)
    with pytest.raises(NotFound, match="trial 1"):
        tell_story(member, 1)
