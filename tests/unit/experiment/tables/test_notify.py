"""The table [notify]: what it takes, whose way it goes, and what nobody reads of it."""

from __future__ import annotations

import json

import pytest

from tests.factories import make_experiment
from tests.unit.experiment.sources import MINIMAL
from tuned.domain.news.notices import Wishes
from tuned.errors import InvalidInput
from tuned.experiment.differences import are_replaceable, differences
from tuned.experiment.experiment import defined, parse
from tuned.experiment.summary import summary
from tuned.experiment.tables.notify import concealed

URL = "https://example.org/hush"
HOST = Wishes(on=frozenset({"better"}), command=("tell",))


def test_a_file_names_one_way_at_most() -> None:
    keys = f'[notify]\nurl = "{URL}"\ncommand = ["tell"]\n'
    with pytest.raises(InvalidInput) as caught:
        parse(f"{MINIMAL}\n{keys}".encode(), "exp.toml")
    assert "notify: found both, expected either command or url" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_table_without_a_way_goes_the_hosts_way() -> None:
    here = make_experiment('[notify]\non = ["done"]').notify
    own = make_experiment(f'[notify]\nurl = "{URL}"').notify
    assert here is not None
    assert own is not None
    assert here.wishes(HOST) == Wishes(on=frozenset({"done"}), command=("tell",))
    assert own.wishes(HOST) == Wishes(on=frozenset({"done", "failed"}), url=URL)


def test_a_definition_keeps_the_table_and_readers_get_no_secret() -> None:
    experiment = make_experiment('[notify]\non = ["better", "done"]\ncommand = ["tell", "hush"]')
    again = defined(experiment.definition(), "exp")
    assert again.notify == experiment.notify
    shown = concealed(json.loads(experiment.definition()))
    assert shown["notify"] == {"on": ["done", "better"], "command": ["tell", "…"]}
    assert defined(json.dumps(shown), "exp").name == "exp"
    assert "hush" not in "".join(summary(experiment)) + experiment.whole()
    assert "notify: done, better (tell …)" in summary(experiment)


@pytest.mark.parametrize("before", ["", '[notify]\nurl = "https://example.org/hush2"'])
def test_another_address_may_replace_it_and_is_not_told(before: str) -> None:
    mine, theirs = make_experiment(f'[notify]\nurl = "{URL}"'), make_experiment(before)
    found = differences(mine.definition(), theirs.definition())
    assert are_replaceable(found)
    assert [each.as_change for each in found] == [f"{found[0].key}: another one"]
    assert "hush" not in " ".join(map(str, found))
