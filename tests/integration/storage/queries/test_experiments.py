"""What the socket shows is what is in the database, and what Optuna itself says of it."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event, update

from tuned.domain.claim import Candidate, Claimant, Claimed, Duplicate, Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import Result, TellOutcome
from tuned.domain.space import Value
from tuned.domain.states import StudyState
from tuned.errors import NotFound
from tuned.experiment.experiment import parse
from tuned.storage import hosts
from tuned.storage.claims import Claims
from tuned.storage.database import Database
from tuned.storage.encoding import Encoding
from tuned.storage.queries import experiments
from tuned.storage.queries.best import pareto_front
from tuned.storage.schema import UID_ATTRIBUTE, study_system_attributes, t_study
from tuned.storage.settling import settle_own
from tuned.storage.studies import open_study, set_state
from tuned.storage.tells import tell

Direction = Literal["minimize", "maximize"]

INFINITY = float("inf")

SPACE = """
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

DISTRIBUTIONS = {
    "size": IntDistribution(1, 9),
    "rate": FloatDistribution(0.0, 1.0, step=0.2),
    "kind": CategoricalDistribution(["a", "b", True]),
}


def exit_1(message: str = "exit status 1") -> Failure:
    return Failure(cause=Cause.EXIT, message=message, detail={"status": 1})


@dataclass(frozen=True, kw_only=True)
class Searched:
    """One experiment on one host."""

    database: Database
    study_id: int
    uid: str
    encoding: Encoding
    claimant: Claimant
    claims: Claims

    def draw(self, size: int = 1, *, waiting: int | None = None, **others: Value) -> Claimed | Duplicate:
        point = self.encoding.space.point({"size": size, "rate": 0.6, "kind": "a", **others})
        origin = Origin.SAMPLER if waiting is None else Origin.ENQUEUED
        outcome = self.claims.claim(Candidate(point=point, origin=origin, waiting_trial=waiting))
        assert isinstance(outcome, Claimed | Duplicate)
        return outcome

    def end(
        self,
        claimed: Claimed | Duplicate,
        *values: float,
        retried: Sequence[Failure] = (),
        message: str = "x",
    ) -> None:
        assert isinstance(claimed, Claimed)
        result = Result(
            study_id=self.study_id,
            study_uid=self.uid,
            trial_id=claimed.trial_id,
            number=claimed.number,
            key=claimed.point.key,
            host=self.claimant.host,
            ending=Ending(
                values=values or None, failure=None if values else exit_1(message), retried=tuple(retried)
            ),
        )
        assert tell(self.database, result) is TellOutcome.TOLD

    def evaluate(self, size: int, *values: float) -> None:
        self.end(self.draw(size), *values)


@dataclass(frozen=True)
class World:
    """A database with some hosts and experiments."""

    database: Database
    claimants: dict[str, Claimant] = field(default_factory=dict)

    def search(self, name: str = "exp", text: str = "", host: str = "h1") -> Searched:
        content = f'name = "{name}"\n{text}\n[objective]\ncommand = ["true"]\n{SPACE}'
        experiment = parse(content.encode(), f"{name}.toml")
        encoding = Encoding(experiment.space)
        status = open_study(self.database, experiment, encoding, is_new=True)
        claimant = self.claimants.get(host)
        if claimant is None:
            incarnation = hosts.register(self.database, host, host, hosts.HostInfo())
            assert incarnation is not None
            claimant = self.claimants[host] = Claimant(host=host, incarnation=incarnation)
        claims = Claims(
            self.database,
            status.study_id,
            claimant=claimant,
            encoding=encoding,
            dedup=experiment.dedup,
            walk=None,
        )
        return Searched(
            database=self.database,
            study_id=status.study_id,
            uid=status.uid,
            encoding=encoding,
            claimant=claimant,
            claims=claims,
        )

    @contextmanager
    def optuna(
        self, name: str = "exp", directions: Sequence[Direction] = ("minimize",)
    ) -> Iterator[optuna.Study]:
        """The study as plain Optuna has it; made if there is none."""
        storage = RDBStorage(self.database.url)
        try:
            yield optuna.create_study(
                storage=storage, study_name=name, directions=directions, load_if_exists=True
            )
        finally:
            storage.remove_session()
            storage.engine.dispose()


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    database = Database(database_url)
    database.prepare()
    yield World(database)
    database.close()


def trial_of(size: int, *values: float, **others: Any) -> FrozenTrial:
    params = {"size": size, "rate": 0.6, "kind": "a"}
    return create_trial(values=values, params=params, distributions=DISTRIBUTIONS, **others)


def everything(search: Searched) -> list[Any]:
    return experiments.trials(search.database, search.study_id, state=None, before=None, limit=1000)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", listen)
    yield seen
    event.remove(database.engine, "before_cursor_execute", listen)


# Trials


def iso(time: dt.datetime | None) -> str | None:
    return None if time is None else time.astimezone(dt.UTC).isoformat(timespec="microseconds")


def a_bit_of_everything(world: World) -> Searched:
    """Trials 0 to 7: complete, reused, failed, running, skipped, complete (infinite), aborted, retried."""
    search = world.search()
    search.end(search.draw(1, kind=True, rate=0.6), 0.25)
    search.draw(1, kind=True, rate=0.6)
    search.evaluate(2)
    running = search.draw(3)
    search.draw(3)
    search.evaluate(4, -INFINITY)
    search.draw(5)
    assert isinstance(running, Claimed)
    settle_own(world.database, search.study_id, search.claimant.incarnation, but_not=[running.trial_id])
    search.end(search.draw(6), 2.0, retried=[exit_1(), exit_1()])
    return search


def test_trials_are_shown_as_optuna_reads_them(world: World) -> None:
    search = a_bit_of_everything(world)
    with world.optuna() as study:
        expected = [
            (t.number, t.state.name, t.params, t.values, iso(t.datetime_start), iso(t.datetime_complete))
            for t in reversed(study.trials)
        ]
    shown = [
        (t["number"], t["state"], t["params"], t["values"], t["started"], t["ended"])
        for t in everything(search)
    ]
    assert shown == expected


def test_each_trial_is_counted_once_by_what_became_of_it(world: World) -> None:
    a_bit_of_everything(world)
    with world.optuna() as study:
        study.enqueue_trial({"size": 9})
        study.add_trial(create_trial(state=TrialState.PRUNED))
    [summary] = experiments.summaries(world.database, None)
    assert summary["counts"] == {
        "complete": 3, "reused": 1, "failed": 2, "skipped": 1, "pruned": 1, "running": 1, "waiting": 1,
    }  # fmt: skip


def test_counts_are_split_by_the_host_that_did_each_trial(world: World) -> None:
    odd = '", "msg": "COMPLETE'
    one, other = a_bit_of_everything(world), world.search(host=odd)
    other.evaluate(8, 0.5)
    other.draw(8)
    with world.optuna() as study:
        study.add_trial(trial_of(9, 0.5, user_attrs={"HOST": math.nan}))
        study.enqueue_trial({"size": 9})
    view = experiments.experiment(world.database, "exp")
    by_host = {each["host"]: each["counts"] for each in view["hosts"]}
    assert (by_host[odd]["complete"], by_host[odd]["reused"], by_host[None]["complete"]) == (1, 1, 1)
    assert set(by_host) == {one.claimant.host, odd, None}
    for count in ("complete", "reused", "failed", "skipped", "running"):
        assert sum(each[count] for each in by_host.values()) == view["summary"]["counts"][count]


def test_a_duplicate_names_its_twin_and_where_that_was_evaluated(world: World) -> None:
    search = world.search(host="h1")
    search.evaluate(1, 0.5)
    other = world.search(host="h2")
    other.draw(1)
    view = experiments.trial(world.database, search.study_id, 1)
    assert (view["host"], view["duplicate_of"]) == ("h2", {"number": 0, "host": "h1"})
    assert experiments.trial(world.database, search.study_id, 0)["duplicate_of"] is None


def test_a_host_that_is_named_like_a_duplicate_is_none(world: World) -> None:
    search = world.search(host='", "msg": "COMPLETE')
    search.evaluate(1, 0.5)
    [summary] = experiments.summaries(world.database, None)
    assert (summary["counts"]["complete"], summary["counts"]["reused"]) == (1, 0)


def test_a_failed_trial_says_why_and_a_retried_one_how_often(world: World) -> None:
    search = a_bit_of_everything(world)
    views = {view["number"]: view for view in everything(search)}
    assert views[2]["failure"] == {"cause": "exit", "message": "x"}
    assert views[6]["failure"] == {"cause": "aborted", "message": "stopped before it ended"}
    assert (views[7]["failure"], views[7]["attempt"]) == (None, 3)
    assert views[0]["attempt"] == 1


def test_how_long_a_trial_took_is_known_once_it_ended(world: World) -> None:
    search = a_bit_of_everything(world)
    views = {view["number"]: view for view in everything(search)}
    assert views[3]["seconds"] is None
    assert 0 <= views[0]["seconds"] < 60


def test_attributes_of_plain_optuna_under_our_names_are_harmless(world: World) -> None:
    with world.optuna() as study:
        odd: Sequence[Any] = [7, "x", [1], {"a": 1}, None]
        for value in odd:
            attributes = dict.fromkeys(("HOST", "FAILURE", "RETRIED"), value)
            study.add_trial(trial_of(1, 0.5, user_attrs=attributes))
    search = world.search()
    assert [view["failure"] for view in everything(search)] == [None] * len(odd)
    assert [view["host"] for view in everything(search)] == [None] * len(odd)


# Pages


def interleaved(world: World) -> list[Searched]:
    searches = [world.search(f"exp{n}", host=f"h{n}") for n in range(3)]
    for n in range(9):
        for search in searches[: 1 + n % 3]:
            search.evaluate(1 + n, *([float(n)] if n % 2 else []))
    return searches


def test_pages_give_every_trial_once_newest_first(world: World) -> None:
    for search in interleaved(world):
        seen: list[int] = []
        before = None
        while page := experiments.trials(world.database, search.study_id, state=None, before=before, limit=2):
            seen += [view["number"] for view in page]
            before = seen[-1]
        assert seen == [view["number"] for view in everything(search)]
        assert seen == list(range(len(seen)))[::-1]


def test_a_page_that_begins_above_the_newest_trial_begins_there(world: World) -> None:
    search = interleaved(world)[0]
    page = experiments.trials(world.database, search.study_id, state=None, before=2**31 - 1, limit=2)
    assert [view["number"] for view in page] == [8, 7]


def test_a_page_may_be_of_one_state_only(world: World) -> None:
    search = interleaved(world)[0]
    page = experiments.trials(world.database, search.study_id, state="FAIL", before=6, limit=2)
    assert [(view["number"], view["state"]) for view in page] == [(4, "FAIL"), (2, "FAIL")]


def test_a_trial_is_found_by_its_number(world: World) -> None:
    for search in interleaved(world):
        for view in everything(search):
            assert experiments.trial(world.database, search.study_id, view["number"]) == view


def test_a_number_that_was_not_given_is_not_found(world: World) -> None:
    search = interleaved(world)[2]
    for number in (3, 2**31 - 1):
        with pytest.raises(NotFound, match=f"trial {number}"):
            experiments.trial(world.database, search.study_id, number)


# The best


OBJECTIVES: tuple[list[Direction], ...] = (
    ["minimize"],
    ["maximize"],
    ["minimize", "maximize"],
    ["maximize", "maximize", "minimize"],
)


@pytest.mark.parametrize("directions", OBJECTIVES, ids="-".join)
def test_the_best_are_those_that_optuna_names(world: World, directions: list[Direction]) -> None:
    generator = random.Random(len(directions))
    numbers = [-INFINITY, -1.0, 0.0, 0.5, 1.0, INFINITY]
    search = world.search(text=f"directions = {json.dumps(directions)}")
    for _ in range(25):
        size = generator.randint(1, 9)
        kinds: list[Value] = ["a", True]
        drawn = search.draw(size, rate=generator.choice([0.2, 0.8]), kind=generator.choice(kinds))
        # Failing ones and duplicates are among them.
        if isinstance(drawn, Claimed) and generator.random() < 0.9:
            search.end(drawn, *(generator.choice(numbers) for _ in directions))
    with world.optuna(directions=directions) as study:
        expected = [(t.number, t.values, t.params) for t in study.best_trials]
    found = [
        (b["number"], b["values"], b["params"]) for b in experiments.best(world.database, search.study_id)
    ]
    # Optuna's front of a single objective has all that are equal; ours is the first of them.
    assert found == (expected if len(directions) > 1 else expected[:1])


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.tuples(*[st.sampled_from([-INFINITY, -1.0, -0.0, 0.0, 1.0, 2.0, INFINITY])] * n), max_size=30
        )
    )
)
def test_the_front_is_that_of_optuna(losses: list[tuple[float, ...]]) -> None:
    trials = [create_trial(values=each) for each in losses]
    directions = [StudyDirection.MINIMIZE] * (len(losses[0]) if losses else 1)
    expected = {tuple(t.values) for t in _get_pareto_front_trials_by_trials(trials, directions)}
    assert set(pareto_front(losses)) == expected


@pytest.mark.parametrize("worst", [INFINITY, 3.0])
def test_infinite_values_are_ordered_like_any(world: World, worst: float) -> None:
    search = world.search(text='direction = "maximize"')
    search.evaluate(1, worst)
    search.evaluate(2, -INFINITY)
    assert [b["values"] for b in experiments.best(world.database, search.study_id)] == [[worst]]


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "minimize"]], ids=len)
def test_a_reused_trial_is_never_shown_before_the_evaluated_one(
    world: World, directions: list[Direction]
) -> None:
    search = world.search(text=f"directions = {json.dumps(directions)}")
    values = [0.5] * len(directions)
    with world.optuna(directions=directions) as study:
        study.enqueue_trial({"size": 1})
        waiting = study.trials[0]._trial_id
    search.evaluate(1, *values)
    search.evaluate(2, *values)
    assert isinstance(search.draw(1, waiting=waiting), Duplicate)
    found = [b["number"] for b in experiments.best(world.database, search.study_id)]
    assert found == ([1] if len(directions) == 1 else [1, 0, 2])
    [summary] = experiments.summaries(world.database, None)
    assert summary["best"] is not None
    assert summary["best"]["number"] == 1


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"]], ids=len)
def test_what_violates_a_constraint_is_not_the_best(world: World, directions: list[Direction]) -> None:
    values = ([0.5] * len(directions), [1.0] * len(directions), [2.0] * len(directions))
    violated: list[dict[str, Any]] = [
        {"constraints": [-1.0, 0.5]},
        {"constraints:a": 0.1},
        {"constraints:a": 0.0},
    ]
    with world.optuna(directions=directions) as study:
        for each, attributes in zip(values, violated, strict=True):
            study.add_trial(trial_of(1, *each, system_attrs=attributes))
        expected = [t.number for t in study.best_trials]
    search = world.search(text=f"directions = {json.dumps(directions)}")
    assert [b["number"] for b in experiments.best(world.database, search.study_id)] == expected == [2]


def test_there_is_no_best_without_a_feasible_value(world: World) -> None:
    with world.optuna() as study:
        study.add_trial(trial_of(1, 0.5, system_attrs={"constraints": [1.0]}))
    search = world.search()
    search.evaluate(2)
    assert experiments.best(world.database, search.study_id) == []
    assert experiments.summaries(world.database, None)[0]["best"] is None


# Experiments

TEXTS = {"one": "", "two": 'directions = ["minimize", "maximize"]'}


def test_a_summary_has_the_budget_and_what_was_charged(world: World) -> None:
    text = "[budget]\ntrials = 10\nevaluations = 8\ntime = 3600"
    search = world.search(text=text)
    before = time.time()
    search.evaluate(1, 0.5)
    search.draw(1)
    search.draw(2)
    [summary] = experiments.summaries(world.database, [search.study_id])
    assert (summary["trials"], summary["trials_limit"]) == (3, 10)
    assert (summary["evaluations"], summary["evaluations_limit"]) == (2, 8)
    assert (summary["visited"], summary["space_size"]) == (1, 9 * 6 * 3)
    assert (summary["name"], summary["state"], summary["directions"]) == ("exp", "open", ["minimize"])
    assert summary["seconds_left"] is not None
    assert summary["started"] is not None
    assert 3500 < summary["seconds_left"] < 3600
    assert math.isclose(dt.datetime.fromisoformat(summary["started"]).timestamp(), before, abs_tol=60)


def test_the_time_that_is_left_is_all_before_the_first_claim_and_never_negative(world: World) -> None:
    search = world.search(text="[budget]\ntime = 3600")
    [summary] = experiments.summaries(world.database, None)
    assert (summary["seconds_left"], summary["started"]) == (3600.0, None)
    with world.database.transaction() as connection:
        connection.execute(update(t_study).values(first_claim=1.0))
    [summary] = experiments.summaries(world.database, [search.study_id])
    assert summary["seconds_left"] == 0.0


def test_the_best_of_each_experiment_is_its_own(world: World) -> None:
    for n, best in enumerate([2.0, 1.0, 3.0]):
        search = world.search(f"exp{n}", f'direction = "{["minimize", "maximize"][n % 2]}"')
        search.evaluate(1 + n, best)
        search.evaluate(5 + n, best + (1 if n % 2 == 0 else -1))
    bests = [
        (s["name"], s["best"] and s["best"]["values"]) for s in experiments.summaries(world.database, None)
    ]
    assert bests == [("exp0", [2.0]), ("exp1", [1.0]), ("exp2", [3.0])]


def test_what_is_not_there_is_missing_from_the_summaries(world: World) -> None:
    search = world.search()
    assert len(experiments.summaries(world.database, [search.study_id, 999])) == 1
    assert experiments.summaries(world.database, []) == []


def test_an_experiment_shows_its_state_definition_and_sampler(world: World) -> None:
    text = '[sampler]\nname = "tpe"\nseed = 42\nn_startup_trials = 5'
    search = world.search(text=text)
    set_state(world.database, search.study_id, StudyState.PAUSED)
    view = experiments.experiment(world.database, "exp")
    assert view["sampler"] == {"name": "tpe", "seed": 42, "options": {"n_startup_trials": 5}}
    assert view["summary"]["state"] == "paused"
    assert view["definition"]["name"] == "exp"


def test_an_experiment_shows_its_five_newest_failures_but_no_skipped_trial(world: World) -> None:
    search = world.search()
    for size in range(1, 8):
        search.evaluate(size)
    search.draw(8)
    search.draw(8)
    failures = experiments.experiment(world.database, "exp")["failures"]
    assert [view["number"] for view in failures] == [6, 5, 4, 3, 2]


def test_an_experiment_is_found_by_its_name(world: World) -> None:
    searches = [world.search(name) for name in ("one", "two")]
    assert [experiments.find(world.database, name) for name in ("one", "two")] == [
        s.study_id for s in searches
    ]
    assert experiments.uid(world.database, searches[0].study_id) == searches[0].uid


def test_who_asks_for_what_is_not_there_learns_what_is_near(world: World) -> None:
    with pytest.raises(NotFound, match="none in the database"):
        experiments.find(world.database, "minima")
    for name in ("minima", "maxima", "other"):
        world.search(name)
    with pytest.raises(NotFound, match=r"cannot find experiment minimal: known are minima, maxima$"):
        experiments.find(world.database, "minimal")
    with pytest.raises(NotFound, match=r"known are minima, maxima, other$"):
        experiments.experiment(world.database, "xyz")


def test_a_study_that_tuned_did_not_join_is_no_experiment(world: World) -> None:
    with world.optuna("foreign"):
        pass
    assert experiments.summaries(world.database, None) == []
    with pytest.raises(NotFound):
        experiments.find(world.database, "foreign")


def test_what_a_deleted_study_left_is_not_taken_for_its_successor(world: World) -> None:
    search = world.search()
    with world.database.transaction() as connection:
        other = update(study_system_attributes).where(study_system_attributes.c.key == UID_ATTRIBUTE)
        connection.execute(other.values(value_json='"other"'))
    assert experiments.summaries(world.database, None) == []
    for ask in (
        lambda: experiments.find(world.database, "exp"),
        lambda: experiments.uid(world.database, search.study_id),
    ):
        with pytest.raises(NotFound):
            ask()


def test_the_number_of_statements_does_not_grow_with_what_is_there(world: World) -> None:
    counts: list[list[int]] = []
    for n in (1, 3):
        for each in range(n):
            one, two = (world.search(f"{kind}-{n}-{each}", TEXTS[kind]) for kind in ("one", "two"))
            for size in range(1, 1 + n):
                one.evaluate(size, 0.5)
                two.evaluate(size, size, -size)
        with statements(world.database) as seen:
            marks = [0]
            for ask in (
                lambda: experiments.summaries(world.database, None),
                lambda: experiments.experiment(world.database, "one-1-0"),
                lambda: experiments.trials(world.database, 1, state=None, before=None, limit=1000),
                lambda: experiments.best(world.database, 2),
            ):
                assert ask()
                marks.append(len(seen))
        counts.append([after - before for before, after in itertools.pairwise(marks)])
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 16
