"""Programs that tunectl asks."""

from __future__ import annotations

import pytest

from tuned.errors import TunedError
from tuned.tunectl.tables.programs import answer_of


def test_a_program_that_fails_is_told_by_its_last_line() -> None:
    with pytest.raises(TunedError, match=r"^cannot read study none: found no URL of a database$"):
        answer_of("tuned.foreign_study", {"study": "none", "storage": "-"}, "cannot read study none")


def test_several_servers_of_which_none_answers_are_told_without_the_password() -> None:
    storage = "postgresql://u:horse@127.0.0.1:1,127.0.0.1:2/d"
    with pytest.raises(TunedError, match=r"^cannot read study none: .*Connection refused$") as caught:
        answer_of("tuned.foreign_study", {"study": "none", "storage": storage}, "cannot read study none")
    assert "horse" not in str(caught.value)
