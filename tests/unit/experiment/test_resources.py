"""The table [resources]."""

from __future__ import annotations

import pytest

from tests.unit.experiment.sources import told, with_parts


def _resources(keys: str) -> str:
    return with_parts(resources=f"[resources]\n{keys}")


_SIZE = 'bytes, or a number with K, M, G or T such as "4G", from 1M'

_GPUS = "a whole number of GPUs, or a part of one such as 0.5"


_REFUSED = {
    "memory": (_resources("memory = 4"), f"resources.memory: found 4, expected {_SIZE}"),
    "memory unit": (_resources('memory = "4GB"'), f'resources.memory: found "4GB", expected {_SIZE}'),
    "memory float": (_resources("memory = 4e9"), f"resources.memory: found 4000000000.0, expected {_SIZE}"),
    "cpus": (_resources("cpus = 0"), "resources.cpus: found 0, expected at least 0.01"),
    "cpus inf": (_resources("cpus = inf"), "resources.cpus: found inf, expected at most 100000.0"),
    "pids": (_resources("pids = 0"), "resources.pids: found 0, expected at least 1"),
    "gpus": (_resources("gpus = 1.5"), f"resources.gpus: found 1.5, expected {_GPUS}"),
    "no gpus": (_resources("gpus = 0"), f"resources.gpus: found 0, expected {_GPUS}"),
    "gpus text": (_resources('gpus = "1"'), 'resources.gpus: found "1", expected a number'),
    "resource": (
        _resources("gpu = 1"),
        "resources.gpu: found an unknown key, expected memory, cpus, pids or gpus (did you mean gpus?)",
    ),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_told_in_one_line(source: str, line: str) -> None:
    assert told(source) == [f"x.toml: {line}"]
