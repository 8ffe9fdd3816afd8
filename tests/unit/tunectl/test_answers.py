"""Answers that have their shape, and all others."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import pytest

from tests.small_host import a_host, a_status, a_story, a_trial
from tuned.control.answers import json_line
from tuned.control.routes import ROUTES
from tuned.protocol.events import Event
from tuned.protocol.fleet import HostsView
from tuned.protocol.host import Status
from tuned.protocol.trials import StoryView, TrialsView
from tuned.tunectl.answers import Misshapen, parsed


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def test_an_answer_is_what_the_daemon_said() -> None:
    assert parsed(Status, text(a_status())) == a_status()
    story = a_story(a_trial(7, values=[float("-inf")], failure={"cause": "lost"}, started=None))
    assert str(parsed(StoryView, json_line(story))["trial"]["values"]) == "['-Infinity']"


def test_keys_and_events_of_a_newer_daemon_are_passed_over() -> None:
    assert parsed(HostsView, text({"hosts": [a_host(colour="red")], "more": [1]}))
    moment = "2025-01-31T12:00:00+00:00"
    assert parsed(Event, text({"event": "moon-rises", "time": moment, "host": "alpha", "phase": 1}))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"state": "purple"}, "hosts.0.state"),
        ({"slots": True}, "hosts.0.slots"),
        ({"slots": 2**63}, "hosts.0.slots"),
        ({"slots": 1.5}, "hosts.0.slots"),
        ({"beat_age_seconds": "Infinity"}, "hosts.0.beat_age_seconds"),
        ({"beat_age_seconds": 10**400}, "hosts.0.beat_age_seconds"),
        ({"version": None}, "hosts.0.version"),
        ({"name": ["alpha"]}, "hosts.0.name"),
    ],
)
def test_an_odd_value_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(Misshapen, match=f"^{place}: found"):
        parsed(HostsView, text({"hosts": [{**a_host(), **change}]}))


@pytest.mark.parametrize("moment", ["", "yesterday", "2025-01-31T12:00:00", "0001-01-01T00:00:00+23:59", 7])
def test_a_moment_has_its_zone_and_can_be_shown(moment: object) -> None:
    with pytest.raises(Misshapen, match="started: found"):
        parsed(TrialsView, text({"trials": [a_trial(7, started=moment)], "before": None}))


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"\xff\xfe", b"[" * 10**5, b'{"hosts": ' + b"9" * 10**4 + b"}", b'{"hosts": [NaN]}',
     b"null", b"[]", b'{"hosts": {}}', b'{"hosts": [[]]}', b"{}",
     b'{"hosts": ' + b"[" * 60 + b"]" * 60 + b"}"],
    ids=range(12),
)  # fmt: skip
def test_any_other_answer_is_refused_in_one_line(answer: bytes) -> None:
    with pytest.raises(Misshapen, match=r"\A[ -~]+\Z"):
        parsed(HostsView, answer)


def test_every_shape_of_the_socket_can_be_checked() -> None:
    kinds: list[Any] = [get_type_hints(route.handler)["return"] for route in ROUTES]
    for kind in [Event, *(kind for kind in kinds if kind.__module__.startswith("tuned.protocol"))]:
        with pytest.raises(Misshapen):
            parsed(kind, b"{}")
