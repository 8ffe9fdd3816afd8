"""A parameter as an objective asks for it: the same distribution as in the database."""

from __future__ import annotations

import json
import warnings

import pytest

from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, document
from tuned.storage.distributions import distributions
from tuned.worker.declared import Declared


@pytest.mark.parametrize(
    "parameter",
    [
        IntParameter(name="p", low=-1, high=8, step=4),
        IntParameter(name="p", low=1, high=1024, log=True),
        FloatParameter(name="p", low=0.0, high=1.0, step=0.3),
        FloatParameter(name="p", low=0.1, high=0.3, step=0.1),
        FloatParameter(name="p", low=1e-5, high=1.0, log=True),
        FloatParameter(name="p", low=2.0, high=2.0),
        CategoricalParameter(name="p", choices=("a", 1, 2.5, True)),
    ],
)
def test_its_distribution_is_that_of_the_database(parameter: Parameter) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Declared(json.loads(json.dumps(document(parameter)))).distribution()
    assert found == distributions([parameter])["p"]
