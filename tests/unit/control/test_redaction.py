"""Fields that are marked in a shape are left out, wherever it stands; nothing else is."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import pytest

from tuned.control.redaction import redaction_of, unchanged
from tuned.protocol.fields import Params, TrustedOnly
from tuned.protocol.fleet import HostsView


class Secret(TypedDict):
    shown: str
    hidden: NotRequired[TrustedOnly[str]]


class Holder(TypedDict):
    params: Params
    one: Secret | None
    many: NotRequired[list[Secret]]
    by_name: NotRequired[dict[str, Secret]]


class Outer(TypedDict):
    holders: list[Holder]


class Unknown(TypedDict):
    value: set[str]


class Ambiguous(TypedDict):
    value: Secret | Holder


SECRET = Secret(shown="a", hidden="sesame")


def test_a_marked_field_is_left_out_at_every_depth() -> None:
    holder = Holder(params={}, one=SECRET, many=[SECRET, SECRET], by_name={"x": SECRET})
    shown = {"shown": "a"}
    redacted = redaction_of(Outer)({"holders": [holder]})
    assert redacted == {
        "holders": [{"params": {}, "one": shown, "many": [shown, shown], "by_name": {"x": shown}}]
    }
    assert holder["one"] == {"shown": "a", "hidden": "sesame"}


def test_a_parameter_may_have_the_name_of_a_marked_field() -> None:
    holder = Holder(params={"hidden": 1, "message": "x", "env": "y"}, one=None)
    assert redaction_of(Holder)(holder) == holder


def test_a_shape_without_marked_fields_is_not_copied() -> None:
    assert redaction_of(HostsView) is unchanged


@pytest.mark.parametrize("kind", [Unknown, Ambiguous, bytes])
def test_a_type_in_which_something_could_hide_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="cannot redact"):
        redaction_of(kind)
