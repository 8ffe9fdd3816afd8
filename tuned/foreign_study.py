"""A program that prints the COMPLETE trials of any Optuna study, as rows of an import in lines of JSON.

It is asked on standard input by ``{"storage": URL, "study": NAME}``: a command line would show the password.
``tunectl import`` starts it, so that a person's own rights read the storage, and not the daemon's.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tuned.config.storage_url import normalised
from tuned.domain.known_trial import CONSTRAINTS, PARAMS, USER_ATTRS, value_columns

_CONNECT_SECONDS = "5"


def main() -> None:
    request = json.load(sys.stdin)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Of several hosts, one that hangs would keep the person from the others.
    os.environ.setdefault("PGCONNECT_TIMEOUT", _CONNECT_SECONDS)
    url = _url(request["storage"])
    try:
        study = optuna.load_study(study_name=request["study"], storage=url)
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    except Exception as error:  # noqa: BLE001 (Optuna, SQLAlchemy and drivers raise anything)
        sys.exit(_without_password(_reason(error), url))
    for trial in trials:
        sys.stdout.write(json.dumps(_row(trial), default=str) + "\n")


def _url(text: str) -> str:
    """With the driver that is installed beside tuned, if tuned itself could use the database."""
    try:
        return normalised(text)
    except ValueError:
        return text


def _row(trial: FrozenTrial) -> dict[str, Any]:
    values = trial.values or []
    times = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
    return {
        "number": trial.number,
        "state": trial.state.name,
        **dict(zip(value_columns(len(values)), values, strict=True)),
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
        **{f"{PARAMS}{name}": value for name, value in trial.params.items()},
        **{f"{USER_ATTRS}{name}": value for name, value in trial.user_attrs.items()},
        **{f"{CONSTRAINTS}:{name}": value for name, value in trial.constraints.items()},
    }


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "the storage has no study of this name"
    cause = error.__cause__ or error
    return str(getattr(cause, "orig", cause)).strip().partition("\n")[0] or type(error).__name__


def _without_password(text: str, url: str) -> str:
    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        return "found no URL of a database"
    return text.replace(str(password), "***") if password else text


if __name__ == "__main__":
    main()
