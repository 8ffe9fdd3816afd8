"""Hosts and experiments with trials of all kinds, and plain Optuna beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, create_trial

from tests.factories import MIXED
from tuned.domain.claim import Candidate, Claimant, Claimed, Duplicate, Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import Result, TellOutcome
from tuned.domain.space import Value
from tuned.experiment.experiment import parse
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.encoding import Encoding
from tuned.storage.queries import experiments
from tuned.storage.studies import open_study
from tuned.storage.trials.claims import Claims
from tuned.storage.trials.settling import settle_own
from tuned.storage.trials.tells import tell

Direction = Literal["minimize", "maximize"]


INFINITY = float("inf")


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
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        assert isinstance(claimed, Claimed)
        result = Result(
            study_id=self.study_id,
            study_uid=self.uid,
            trial_id=claimed.trial_id,
            number=claimed.number,
            key=claimed.point.key,
            host=self.claimant.host,
            beginning=self.encoding.beginning(claimed),
            ending=Ending(
                values=values or None,
                failure=None if values else exit_1(message),
                retried=tuple(retried),
                constraints=dict(constraints or {}),
            ),
        )
        assert tell(self.database, result) is TellOutcome.TOLD

    def evaluate(self, size: int, *values: float, constraints: Mapping[str, float] | None = None) -> None:
        self.end(self.draw(size), *values, constraints=constraints)


@dataclass(frozen=True)
class World:
    """A database with some hosts and experiments."""

    database: Database
    claimants: dict[str, Claimant] = field(default_factory=dict)

    def search(self, name: str = "exp", text: str = "", host: str = "h1") -> Searched:
        content = f'name = "{name}"\n{text}\n[objective]\ncommand = ["true"]\n{MIXED}'
        experiment = parse(content.encode(), f"{name}.toml")
        encoding = Encoding(experiment.space)
        status = open_study(self.database, experiment, encoding, is_new=True)
        claimant = self.claimants.get(host)
        if claimant is None:
            joined = hosts.register(self.database, host, host, hosts.HostInfo())
            assert joined is not None
            claimant = self.claimants[host] = Claimant(host=host, incarnation=joined.incarnation)
        claims = Claims(
            self.database,
            status.study_id,
            claimant=claimant,
            encoding=encoding,
            dedup=experiment.dedup,
            walk=None,
            objectives=len(experiment.directions),
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


def trial_of(size: int, *values: float, **others: Any) -> FrozenTrial:
    params = {"size": size, "rate": 0.6, "kind": "a"}
    return create_trial(values=values, params=params, distributions=DISTRIBUTIONS, **others)


def everything(search: Searched) -> list[Any]:
    return experiments.trials(search.database, search.study_id, state=None, before=None, limit=1000)


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
    settle_own(world.database, search.study_id, search.claimant.incarnation, but_not=[running.claim_id])
    search.end(search.draw(6), 2.0, retried=[exit_1(), exit_1()])
    return search
