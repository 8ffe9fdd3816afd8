"""Optuna's pruners, asked about trials of a fleet: they decide as in plain Optuna on the same history."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import delete

from tests.factories import Direction, Member, join, line, make_experiment, opened, plain_optuna, statements
from tuned.domain.claim import Claimed
from tuned.domain.ending import Pruning
from tuned.search.pruning import Judgement, PruningStudy, Reported, optunas
from tuned.storage.database import Database
from tuned.storage.history import History
from tuned.storage.rungs import running_rungs
from tuned.storage.tables.schema import trial_values
from tuned.storage.trials.trial_rows import put_system_attributes

RULES = {
    "median": 'name = "median"\nn_startup_trials = 3\ninterval_steps = 2',
    "percentile": 'name = "percentile"\npercentile = 30.0\nn_startup_trials = 3\nn_min_trials = 2',
    "threshold": 'name = "threshold"\nlower = -0.9\nupper = 0.9\nn_warmup_steps = 2',
    "patient": 'name = "patient"\npatience = 2',
    "patient median": 'name = "patient"\npatience = 0\nwrapped = "median"\nn_startup_trials = 2',
    "wilcoxon": 'name = "wilcoxon"\np_threshold = 0.3',
    "successive-halving": 'name = "successive-halving"\nmin_resource = 1\nreduction_factor = 2',
    "hyperband": 'name = "hyperband"\nmax_resource = 9\nreduction_factor = 2',
}

STEPS = 10


@dataclass(kw_only=True)
class Run:
    """One trial, here and in plain Optuna."""

    claimed: Claimed
    plain: optuna.Trial
    curve: list[float]
    judged: dict[int, float] = field(default_factory=dict)
    rungs: dict[str, float] = field(default_factory=dict)
    pruning: Pruning | None = None

    def judge(self, study: PruningStudy, member: Member, *new: tuple[int, float]) -> Judgement:
        trial = Reported(
            trial_id=self.claimed.trial_id,
            number=self.claimed.number,
            judged=self.judged,
            new=new,
            rungs=self.rungs,
        )
        assert member.experiment.pruner
        found = study.judge(member.experiment.pruner, trial)
        self.judged.update(new)
        self.rungs, self.pruning = dict(found.rungs), found.pruning
        return found


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


def member_of(database: Database, rule: str, *, host: str = "h1", extra: str = "") -> Member:
    return join(database, make_experiment(f"{extra}\n[pruner]\n{rule}", space=line(100)), host)


def study_of(member: Member) -> PruningStudy:
    assert member.experiment.pruner
    history = History(member.database, member.status.study_id, objectives=len(member.experiment.directions))
    return PruningStudy(
        member.database, member.experiment, member.status, history,
        objective=member.experiment.pruner.objective,
    )  # fmt: skip


def synced(study: PruningStudy, member: Member) -> PruningStudy:
    assert member.experiment.pruner
    study.sync(member.experiment.pruner)
    return study


def begin(member: Member, plain: optuna.Study, source: random.Random, sign: int) -> Run:
    claimed, trial = member.take(len(plain.trials)), plain.ask()
    assert claimed.number == trial.number
    height = source.random()
    return Run(
        claimed=claimed,
        plain=trial,
        curve=[sign * (height + 2**-step + source.random() / 9) for step in range(STEPS)],
    )


def written(rungs: dict[str, float]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in rungs.items()}


def advance(member: Member, study: PruningStudy, plain: optuna.Study, run: Run) -> bool:
    """One step of both; whether the trial goes on."""
    step = len(run.judged)
    run.plain.report(run.curve[step], step)
    is_pruned = run.plain.should_prune()
    run.judge(synced(study, member), member, (step, run.curve[step]))
    assert (run.pruning is not None) == is_pruned
    if is_pruned:
        plain.tell(run.plain, state=TrialState.PRUNED)
        member.tell(
            run.claimed, run.curve[step], is_pruned=True, pruning=run.pruning, intermediate=run.judged,
            system_attrs=written(run.rungs),
        )  # fmt: skip
    elif step == STEPS - 1:
        plain.tell(run.plain, run.curve[step])
        member.tell(run.claimed, run.curve[step], intermediate=run.judged, system_attrs=written(run.rungs))
    return not is_pruned and step < STEPS - 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_decides_as_in_plain_optuna_while_three_trials_run(
    database: Database, rule: str, direction: Direction, sign: int
) -> None:
    member = member_of(database, RULES[rule], extra=f'direction = "{direction}"')
    study, source = study_of(member), random.Random(7)
    assert member.experiment.pruner
    plain = optuna.create_study(
        study_name="exp", direction=direction, pruner=optunas(member.experiment.pruner),
        sampler=optuna.samplers.RandomSampler(1),
    )  # fmt: skip
    running: list[Run] = []
    while len(plain.trials) < 16 or running:
        while len(running) < 3 and len(plain.trials) < 16:
            running.append(begin(member, plain, source, sign))
        running = [run for run in running if advance(member, study, plain, run)]
    states = [trial.state for trial in plain.trials]
    assert TrialState.PRUNED in states
    for ours, theirs in zip(member.trials(), plain.trials, strict=True):
        assert (ours.state, ours.values) == (theirs.state, theirs.values)
        assert (ours.intermediate_values, ours.system_attrs) == (
            theirs.intermediate_values,
            theirs.system_attrs,
        )


def told(member: Member, *curve: float) -> None:
    claimed = member.take(len(member.trials()))
    member.tell(claimed, curve[-1], intermediate=dict(enumerate(curve)))


def run_of(member: Member) -> Run:
    plain = optuna.create_study().ask()
    return Run(claimed=member.take(len(member.trials())), plain=plain, curve=[])


@pytest.mark.parametrize(
    ("rule", "bound"),
    [
        ('name = "median"\nn_startup_trials = 1', 2.0),
        ('name = "percentile"\npercentile = 0.0\nn_startup_trials = 1', 1.0),
        ('name = "threshold"\nupper = 4.0', 4.0),
        ('name = "threshold"\nlower = 6.0', 6.0),
        ('name = "patient"\npatience = 0\nwrapped = "median"\nn_startup_trials = 1', 2.0),
        ('name = "patient"\npatience = 0', None),
        ('name = "successive-halving"\nmin_resource = 1\nbootstrap_count = 9', None),
    ],
)
def test_the_bound_that_a_trial_missed_is_told_if_the_rule_has_one(
    database: Database, rule: str, bound: float | None
) -> None:
    member = member_of(database, rule)
    for value in (1.0, 2.0, 3.0):
        told(member, value, value)
    study, run = synced(study_of(member), member), run_of(member)
    assert run.judge(study, member, (0, 4.5), (1, 5.0)).pruning is not None
    assert run.pruning
    assert (run.pruning.rule, run.pruning.bound) == (rule.split('"')[1], bound)


def test_a_flood_is_judged_by_its_last_report(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    member = member_of(database, 'name = "threshold"\nupper = 1.0')
    study, run = synced(study_of(member), member), run_of(member)
    monkeypatch.setattr("tuned.search.pruning.MOST_SECONDS", 0.0)
    assert run.judge(study, member, (0, 2.0), (1, 0.0)).pruning is None
    monkeypatch.undo()
    pruning = run.judge(study, member, (2, 0.0), (3, 2.0), (4, 3.0)).pruning
    assert pruning == Pruning(rule="threshold", step=3, value=2.0, bound=1.0)


def test_rungs_of_running_trials_of_other_hosts_and_of_plain_optuna_count(database_url: str) -> None:
    with opened(database_url) as database:
        rule = 'name = "successive-halving"\nmin_resource = 1\nreduction_factor = 2'
        member, other = member_of(database, rule), member_of(database, rule, host="h2")
        with plain_optuna(database) as plain:
            plain.pruner = optunas(member.experiment.pruner)  # type: ignore[arg-type]
            foreign = plain.ask()
            foreign.report(1.0, 1)
            assert not foreign.should_prune()
        theirs = other.take(7)
        with database.transaction() as connection:
            rungs = {"completed_rung_0": 2.0, "completed_rung_1": "x"}
            put_system_attributes(connection, {theirs.trial_id: rungs})
        assert running_rungs(database, member.status.study_id) == {
            foreign._trial_id: {"completed_rung_0": 1.0},
            theirs.trial_id: {"completed_rung_0": 2.0},
        }
        study = synced(study_of(member), member)
        assert run_of(member).judge(study, member, (1, 0.5)).pruning is None
        # One of four goes on, and three were there before.
        assert run_of(member).judge(study, member, (1, 3.0)).pruning is not None


def test_a_rule_looks_at_one_of_several_objectives(database: Database) -> None:
    extra = 'directions = ["minimize", "maximize"]'
    for name in ("median", "wilcoxon"):
        keywords = "n_startup_trials = 1" if name == "median" else "p_threshold = 0.6"
        experiment = make_experiment(
            f'{extra}\n[pruner]\nname = "{name}"\n{keywords}\nobjective = 1', space=line(100), name=name
        )
        member = join(database, experiment)
        member.tell(member.take(0), 1.0, 5.0, intermediate={0: 5.0, 1: 5.0, 2: 5.0})
        study = synced(study_of(member), member)
        assert run_of(member).judge(study, member, (0, 6.0), (1, 7.0), (2, 8.0)).pruning is None
        assert run_of(member).judge(study, member, (0, 4.0), (1, 3.0), (2, 2.0)).pruning is not None


def test_a_trial_whose_values_a_person_deleted_does_not_count(database: Database) -> None:
    member = member_of(database, 'name = "median"\nn_startup_trials = 1')
    told(member, 1.0, 1.0)
    with database.transaction() as connection:
        connection.execute(delete(trial_values))
    study = synced(study_of(member), member)
    assert run_of(member).judge(study, member, (0, 9.0)).pruning is None


def test_a_judgement_writes_nothing(database: Database) -> None:
    member = member_of(database, RULES["hyperband"])
    study, run = study_of(member), run_of(member)
    with statements(database) as seen:
        run.judge(synced(study, member), member, (0, 1.0), (8, 1.0))
    assert run.rungs
    assert [statement for statement in seen if not statement.startswith(("SELECT", "BEGIN"))] == []
