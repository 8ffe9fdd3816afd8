"""Users and groups of this host, by name."""

from __future__ import annotations

from tuned.disk.users import described, group_name, user_name

UNKNOWN = 2**31 - 7


def test_a_user_and_a_group_are_called_by_their_names() -> None:
    assert (user_name(0), group_name(0)) == ("root", "root")
    assert described(0) == "user root (uid 0)"


def test_a_number_without_a_name_is_told_as_it_is() -> None:
    assert (user_name(UNKNOWN), group_name(UNKNOWN)) == (str(UNKNOWN), str(UNKNOWN))
    assert described(UNKNOWN) == f"uid {UNKNOWN}"
