"""The made-up host at a socket."""

from __future__ import annotations

import pytest

from tests.integration.tunectl.top.made import MadeHost, universal_time
from tests.small_host import SmallHost

__all__ = ["universal_time"]


@pytest.fixture
def host_type() -> type[SmallHost]:
    return MadeHost
