"""The table of routes, held against the document that specifies it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.control import routes
from tuned.control.router import Route

PROTOCOL = (Path(__file__).parents[3] / "docs" / "reference" / "protocol.md").read_text()


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.path)
def test_the_protocol_has_a_row_for_every_route_with_its_options(route: Route) -> None:
    [row] = [line for line in PROTOCOL.splitlines() if line.startswith(f"| `{route.path}` |")]
    assert [option for option in sorted(route.options) if f"?{option}=" not in row] == []
