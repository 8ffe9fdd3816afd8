"""Studies as the control socket exports them."""

from __future__ import annotations

import optuna
from optuna.distributions import distribution_to_json

from tuned.protocol.fields import TRIAL_STATES
from tuned.protocol.tables import ExportedTrial, ExportView

#: A choice that a page must not run.
HOSTILE = "</script><script>alert(1)</script>"


def exported(study: optuna.Study) -> ExportView:
    """As the export of the storage has it."""
    ranges = {
        (name, distribution_to_json(each)) for t in study.trials for name, each in t.distributions.items()
    }
    return {
        "directions": ["minimize"] * len(study.directions),
        "distributions": [{"name": name, "distribution": text} for name, text in sorted(ranges)],
        "trials": [_row(trial) for trial in study.trials],
        "after": None,
    }


def _row(trial: optuna.trial.FrozenTrial) -> ExportedTrial:
    assert trial.datetime_start is not None
    return ExportedTrial(
        number=trial.number,
        state=next(each for each in TRIAL_STATES if each == trial.state.name),
        values=trial.values,
        started=trial.datetime_start.astimezone().isoformat(),
        ended=trial.datetime_complete.astimezone().isoformat() if trial.datetime_complete else None,
        params=trial.params,
        constraints=trial.constraints,
        reports=[{"step": step, "value": value} for step, value in trial.intermediate_values.items()],
    )


def searched(trials: int, *, objectives: int = 1) -> optuna.Study:
    """A study with a condition, a hostile choice, intermediate values, and a pruned trial as its last."""

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        x = trial.suggest_float("x", 1e-3, 1.0, log=True)
        if trial.suggest_categorical("kind", ["plain", HOSTILE]) == HOSTILE:
            x += trial.suggest_int("size", 1, 9)
        trial.set_constraint("latency", x - 5)
        if objectives == 1:
            trial.report(x, 0)
            trial.report(x / 2, 1)
            if trial.number == trials - 1:
                raise optuna.TrialPruned
        return tuple(x - number for number in range(objectives))

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["minimize"] * objectives, sampler=optuna.samplers.RandomSampler(seed=7)
    )
    study.optimize(objective, n_trials=trials)
    return study
