"""The rules for a table of routes."""

from __future__ import annotations

from typing import TypedDict

import pytest

from tests.small_host import SmallHost
from tuned.control.answers import Output
from tuned.control.peers import Access, Owner
from tuned.control.router import Call, Route, dispatching

OWNER = Owner(uid=1000, gid=1000)


class Raw(TypedDict):
    output: bytes


async def _output(call: Call) -> Output:
    raise NotImplementedError


async def _raw(call: Call) -> Raw:
    raise NotImplementedError


async def test_output_of_trials_cannot_have_a_route_for_anyone() -> None:
    with pytest.raises(AssertionError, match="shows output to anyone"):
        dispatching([Route("GET", "/logs", Access.ANYONE, _output)], SmallHost(), OWNER)
    dispatching([Route("GET", "/logs", Access.TRUSTED, _output)], SmallHost(), OWNER)


async def test_an_answer_of_a_type_that_nobody_can_redact_has_no_route() -> None:
    with pytest.raises(TypeError, match="cannot redact"):
        dispatching([Route("GET", "/raw", Access.TRUSTED, _raw)], SmallHost(), OWNER)
